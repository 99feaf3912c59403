"""Strided convolutions, and transposed ones back: `model=conv`.

Reference: Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks (Radford et al., 2016), arXiv:1511.06434
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from vaelab.models.base import activation_named, check_sizes


class Encoder(nn.Module):
    """Halves the image once per number in `channels`, then one linear layer.

    Arguments:
        channels: Of each convolution; 28 and 32 pixels allow two, 64 four, 128 five.
        kernel_size: Even, so that every stage halves exactly.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: Sequence[int] = (32, 64),
        kernel_size: int = 4,
        activation: str = "ReLU",
    ):
        super().__init__()
        inside = _inside(shape, channels, kernel_size)
        widths = [shape[0], *channels]
        stages = []
        for here, there in pairwise(widths):
            stages += [
                nn.Conv2d(here, there, kernel_size, stride=2, padding=kernel_size // 2 - 1),
                activation_named(activation),
            ]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(math.prod(inside), outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x).flatten(1))


class Decoder(nn.Module):
    """One linear layer, then doubles the image once per number in `channels`, from its end."""

    shared = True

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        channels: Sequence[int] = (32, 64),
        kernel_size: int = 4,
        activation: str = "ReLU",
    ):
        super().__init__()
        self.inside = _inside(shape, channels, kernel_size)
        self.head = nn.Linear(latent_dim, math.prod(self.inside))
        widths = [*reversed(channels), shape[0]]
        stages = []
        for here, there in pairwise(widths):
            stages += [
                activation_named(activation),
                nn.ConvTranspose2d(
                    here, there, kernel_size, stride=2, padding=kernel_size // 2 - 1
                ),
            ]
        self.stages = nn.Sequential(*stages)

    def forward(self, z: Tensor) -> Tensor:
        return self.stages(self.head(z).unflatten(-1, self.inside))

    @torch.no_grad()
    def initialize(self, out: Tensor) -> None:
        self.stages[-1].get_parameter("bias").copy_(out.mean((-2, -1)))


def _inside(
    shape: Sequence[int], channels: Sequence[int], kernel_size: int
) -> tuple[int, int, int]:
    """The shape (C, H, W) after the last convolution."""
    check_sizes("model.channels", list(channels))
    if not channels:
        raise ValueError("model.channels=[]: name at least one convolution, as in [32,64]")
    if len(shape) != 3:
        raise ValueError(
            f"model=conv needs pictures (C, H, W), but data.shape={list(shape)}: use model=mlp"
        )
    if kernel_size < 2 or kernel_size % 2:
        raise ValueError(f"model.kernel_size={kernel_size}: it must be even, as in 4")
    factor = 2 ** len(channels)
    height, width = shape[1:]
    if height % factor or width % factor:
        times = {1: "once", 2: "twice"}.get(len(channels), f"{len(channels)} times")
        raise ValueError(
            f"model=conv halves the image {times}, so height and width must be multiples of "
            f"{factor}, not {height}x{width}: set data.shape or model.channels"
        )
    return channels[-1], height // factor, width // factor
