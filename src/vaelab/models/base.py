"""The contract of an architecture: one file with an Encoder and a Decoder.

`Encoder(shape, outputs, ...)` maps x (B, *shape) to (B, outputs): the raw parameters of q(z|x).
`Decoder(latent_dim, shape, ...)` maps z (B, latent_dim) to (B, *shape): the raw parameters of
p(x|z), never squashed by a sigmoid or tanh.
VAE works out `outputs` and the decoder's channels from the posterior and the likelihood.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

UNFIT = {"MultiheadAttention", "Threshold", "GLU", "Softmin", "Softmax", "Softmax2d", "LogSoftmax"}
ACTIVATIONS = [name for name in nn.modules.activation.__all__ if name not in UNFIT]


def activation_named(name: str) -> nn.Module:
    """The activation that torch.nn knows under this name, such as ReLU, SiLU or Tanh."""
    if name not in ACTIVATIONS:
        raise ValueError(f"model.activation={name}: choose from {', '.join(ACTIVATIONS)}")
    return getattr(nn, name)()


def check_sizes(key: str, sizes: list[int]) -> None:
    if any(size < 1 for size in sizes):
        raise ValueError(f"{key}={list(sizes)}: every size must be at least 1")


class Decoder(nn.Module):
    """What every decoder can do with its last layer, `output`.

    Attributes:
        shared: Whether one number per channel is all that it can start at.
    """

    shared: bool

    @property
    def output(self) -> Any:
        raise NotImplementedError

    @torch.no_grad()
    def initialize(self, out: Tensor) -> None:
        """Start at `out` (*shape), whatever z is."""
        self.output.bias.copy_(out.mean((-2, -1)) if self.shared else out.flatten())

    @torch.no_grad()
    def shrink(self, factor: float) -> None:
        """Multiply the output weights, so that less depends on z."""
        self.output.weight.mul_(factor)


class FlatDecoder(Decoder):
    """`layers` from z (B, latent_dim) to all numbers of an image at once, the last a linear one."""

    shared = False

    def __init__(self, shape: Sequence[int], layers: nn.Sequential):
        super().__init__()
        self.shape, self.layers = tuple(shape), layers

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).unflatten(-1, self.shape)

    @property
    def output(self) -> Any:
        return self.layers[-1]
