"""The contract of an architecture: a file with an Encoder and a Decoder class.

`Encoder(shape, outputs, ...)` maps x (B, *shape) to (B, outputs), the raw parameters of q(z|x).
`Decoder(latent_dim, shape, ...)` maps z (B, latent_dim) to (B, *shape), the raw parameters of
p(x|z); no sigmoid or tanh is applied to them.
VAE derives `outputs` and the decoder's channels from the posterior and the likelihood.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.runtime.errors import UserError

UNSUPPORTED_ACTIVATIONS = {
    "MultiheadAttention",
    "Threshold",
    "GLU",
    "Softmin",
    "Softmax",
    "Softmax2d",
    "LogSoftmax",
}
ACTIVATIONS = [
    name for name in nn.modules.activation.__all__ if name not in UNSUPPORTED_ACTIVATIONS
]


def build_activation(name: str) -> nn.Module:
    """Build the activation of torch.nn with this name, such as ReLU, SiLU or Tanh.

    Raises:
        UserError: If torch.nn has no elementwise activation of this name.
    """
    if name not in ACTIVATIONS:
        raise UserError(f"model.activation={name}: choose from {', '.join(ACTIVATIONS)}")
    return getattr(nn, name)()


def check_sizes(key: str, sizes: list[int]) -> None:
    """Raise a ValueError that names the config key if one of the sizes is not positive."""
    if any(size < 1 for size in sizes):
        raise UserError(f"{key}={list(sizes)}: every size must be at least 1")


class Decoder(nn.Module):
    """The base class of decoders, which initializes the last layer, `output`.

    Attributes:
        bias_per_channel: True if the last layer has one bias per channel, False if it has one per
            pixel.
    """

    bias_per_channel: bool

    @property
    def output(self) -> Any:
        raise NotImplementedError

    def check_codes(self, size: int, setting: str = "posterior.dim") -> None:
        """Check that the decoder has a place for each code of `size` latents.

        Arguments:
            setting: What sets the size.

        Raises:
            UserError: If a code would lie at more than one position of its grid.
        """

    @torch.no_grad()
    def initialize(self, out: Tensor) -> None:
        """Set the output bias to `out` (*shape), averaged over pixels if it is one per channel."""
        positions = tuple(range(1, out.ndim))
        self.output.bias.copy_(out.mean(positions) if self.bias_per_channel else out.flatten())

    @torch.no_grad()
    def scale_output_weights(self, factor: float) -> None:
        """Multiply the output weights by a factor; below 1 the output depends less on z."""
        self.output.weight.mul_(factor)


class FlatDecoder(Decoder):
    """A decoder whose `layers` map z (B, latent_dim) to all pixels at once; the last is linear."""

    bias_per_channel = False

    def __init__(self, shape: Sequence[int], layers: nn.Sequential):
        super().__init__()
        self.shape, self.layers = tuple(shape), layers

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).unflatten(-1, self.shape)

    @property
    def output(self) -> Any:
        return self.layers[-1]
