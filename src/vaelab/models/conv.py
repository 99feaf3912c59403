"""Strided convolutions, and transposed ones back: `model=conv`.

Reference: Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks (Radford et al., 2016), arXiv:1511.06434
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from vaelab.models import base
from vaelab.models.base import activation_named, check_sizes


class Encoder(nn.Module):
    """Halves the image once per number in `channels`, then one linear layer.

    Arguments:
        channels: Of each convolution. An even kernel_size halves odd sizes rounding down, an odd
            one rounding up: 28 pixels become 14, 7 and 3, or 4.
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
        sizes = halve_sizes(shape, channels, kernel_size)
        stages = []
        for here, there in pairwise([shape[0], *channels]):
            stages += [downsample(here, there, kernel_size), activation_named(activation)]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels[-1] * math.prod(sizes[-1]), outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x).flatten(1))


class Decoder(base.Decoder):
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
        sizes = halve_sizes(shape, channels, kernel_size)
        self.inside = (channels[-1], *sizes[-1])
        self.head = nn.Linear(latent_dim, math.prod(self.inside))
        widths = pairwise([*reversed(channels), shape[0]])
        stages = []
        for (here, there), size in zip(widths, reversed(sizes[:-1]), strict=True):
            stages += [activation_named(activation), upsample(here, there, kernel_size, size)]
        self.stages = nn.Sequential(*stages)

    def forward(self, z: Tensor) -> Tensor:
        return self.stages(self.head(z).unflatten(-1, self.inside))

    @property
    def output(self) -> Any:
        return self.stages[-1]


def downsample(here: int, there: int, kernel_size: int) -> nn.Conv2d:
    """A convolution that halves height and width."""
    return nn.Conv2d(here, there, kernel_size, stride=2, padding=(kernel_size - 1) // 2)


def upsample(here: int, there: int, kernel_size: int, size: Sequence[int]) -> nn.ConvTranspose2d:
    """The transposed convolution that doubles height and width to `size`."""
    missing = (size[0] + kernel_size) % 2, (size[1] + kernel_size) % 2
    padding = (kernel_size - 1) // 2
    return nn.ConvTranspose2d(here, there, kernel_size, 2, padding, output_padding=missing)


def halve_sizes(
    shape: Sequence[int], channels: Sequence[int], kernel_size: int
) -> list[tuple[int, int]]:
    """Height and width of pictures (C, H, W) before the first convolution and after each."""
    check_sizes("model.channels", list(channels))
    if not channels:
        raise ValueError("model.channels=[]: name at least one convolution, as in [32,64]")
    if len(shape) != 3:
        raise ValueError(
            f"convolutions need pictures (C, H, W), but data.shape={list(shape)}: use model=mlp"
        )
    if kernel_size < 2:
        raise ValueError(f"model.kernel_size={kernel_size}: it must be at least 2, as in 4")
    sizes = [(shape[1], shape[2])]
    for _ in channels:
        height, width = ((edge + kernel_size % 2) // 2 for edge in sizes[-1])
        sizes.append((height, width))
    if min(sizes[-2]) < 2:
        most = sum(min(size) >= 2 for size in sizes)
        raise ValueError(
            f"a convolution cannot halve pictures (C, H, W) of {list(shape)} "
            f"{len(channels)} times: set data.shape, or model.channels to at most {most} numbers"
        )
    return sizes
