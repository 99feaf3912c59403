"""Strided convolutions in the encoder, transposed ones in the decoder: `model=conv`.

Reference: Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks (Radford et al., 2016), arXiv:1511.06434
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from vaelab.models import base
from vaelab.models.base import build_activation, check_sizes
from vaelab.models.spatial import (
    NOUNS,
    check_is_spatial,
    format_size,
    make_conv,
    make_transposed_conv,
)
from vaelab.runtime.errors import UserError


class Encoder(nn.Module):
    """Strided convolutions that halve x once per number in `channels`, then a linear layer.

    x is a series, an image or a volume: see models/spatial.py.

    Arguments:
        channels: The channels of each convolution.
        kernel_size: The kernel size of each convolution. An even one rounds half of an odd size
            down, an odd one rounds it up: 28 pixels become 14, 7 and 3, or 14, 7 and 4.
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
        sizes = compute_halved_sizes(shape, channels, kernel_size)
        stages = []
        for inputs, width in pairwise([shape[0], *channels]):
            stages += [
                make_downsampling_conv(len(shape) - 1, inputs, width, kernel_size),
                build_activation(activation),
            ]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels[-1] * math.prod(sizes[-1]), outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x).flatten(1))


class Decoder(base.Decoder):
    """A linear layer, then transposed convolutions that double the size.

    Arguments:
        channels: The channels of the encoder; the decoder reverses them.
        kernel_size: The kernel size of each convolution.
    """

    bias_per_channel = True

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        channels: Sequence[int] = (32, 64),
        kernel_size: int = 4,
        activation: str = "ReLU",
    ):
        super().__init__()
        sizes = compute_halved_sizes(shape, channels, kernel_size)
        self.inside = (channels[-1], *sizes[-1])
        self.head = nn.Linear(latent_dim, math.prod(self.inside))
        widths = pairwise([*reversed(channels), shape[0]])
        stages = []
        for (width, outputs), size in zip(widths, reversed(sizes[:-1]), strict=True):
            stages += [
                build_activation(activation),
                make_upsampling_conv(width, outputs, kernel_size, size),
            ]
        self.stages = nn.Sequential(*stages)

    def forward(self, z: Tensor) -> Tensor:
        return self.stages(self.head(z).unflatten(-1, self.inside))

    @property
    def output(self) -> Any:
        return self.stages[-1]


def make_downsampling_conv(dims: int, inputs: int, outputs: int, kernel_size: int) -> nn.Module:
    """Build a convolution that halves each of `dims` spatial dimensions."""
    return make_conv(dims, inputs, outputs, kernel_size, stride=2, padding=(kernel_size - 1) // 2)


def make_upsampling_conv(
    inputs: int, outputs: int, kernel_size: int, size: Sequence[int]
) -> nn.Module:
    """Build a transposed convolution that doubles each spatial dimension, to `size`."""
    output_padding = tuple((edge + kernel_size) % 2 for edge in size)
    padding = (kernel_size - 1) // 2
    return make_transposed_conv(
        len(size), inputs, outputs, kernel_size, 2, padding, output_padding=output_padding
    )


def compute_halved_sizes(
    shape: Sequence[int], channels: Sequence[int], kernel_size: int
) -> list[tuple[int, ...]]:
    """Compute the spatial size of x before the first convolution and after each.

    Arguments:
        shape: The shape of x: (C, L), (C, H, W) or (C, D, H, W).
        channels: The channels of each convolution.

    Raises:
        UserError: If x is none of these, or cannot be halved so often.
    """
    check_sizes("model.channels", list(channels))
    if not channels:
        raise UserError("model.channels=[]: name at least one convolution, as in [32,64]")
    check_is_spatial("a convolutional model", shape, "use model=mlp")
    if kernel_size < 2:
        raise UserError(f"model.kernel_size={kernel_size}: it must be at least 2, as in 4")
    sizes = [tuple(shape[1:])]
    for _ in channels:
        sizes.append(tuple((edge + kernel_size % 2) // 2 for edge in sizes[-1]))
    if min(sizes[-2]) < 2:
        most = sum(min(size) >= 2 for size in sizes)
        noun = NOUNS[len(sizes[0])]
        raise UserError(
            f"model.channels={list(channels)} halves {noun} {len(channels)} times, but {noun} of "
            f"{format_size(sizes[0])} can be halved at most {most} times: use at most {most} "
            "numbers"
        )
    return sizes
