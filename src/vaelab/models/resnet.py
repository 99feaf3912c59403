"""Residual convolutional networks: `model=resnet`.

Reference: Identity Mappings in Deep Residual Networks (He et al., 2016), arXiv:1603.05027
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from vaelab.models import base
from vaelab.models.base import build_activation, check_sizes
from vaelab.models.conv import compute_halved_sizes, make_downsampling_conv, make_upsampling_conv
from vaelab.models.spatial import make_batch_norm, make_conv
from vaelab.runtime.errors import UserError

NORMALIZATIONS = ("batch", "group", "none")


class Encoder(nn.Module):
    """Residual convolutions that halve x once per number in `channels`, and a linear layer.

    x is a series, an image or a volume: see models/spatial.py.

    Arguments:
        channels: The channels after each halving.
        blocks: The number of residual blocks after each halving.
        kernel_size: The kernel size of the convolutions that halve x, see models/conv.py.
        normalization: batch, group (with 8 groups, or the largest common divisor of 8 and the
            channels) or none.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: Sequence[int] = (32, 64),
        blocks: int = 2,
        kernel_size: int = 4,
        activation: str = "SiLU",
        normalization: str = "batch",
    ):
        super().__init__()
        dims = len(shape) - 1
        sizes = compute_halved_sizes(shape, channels, kernel_size)
        check_blocks(blocks, normalization)
        stages: list[nn.Module] = []
        for inputs, width in pairwise([shape[0], *channels]):
            stages.append(make_downsampling_conv(dims, inputs, width, kernel_size))
            stages += [ResidualBlock(dims, width, activation, normalization) for _ in range(blocks)]
        stages += [
            build_normalization(normalization, dims, channels[-1]),
            build_activation(activation),
        ]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels[-1] * math.prod(sizes[-1]), outputs)

    def forward(self, x: Tensor) -> Tensor:
        # In channels_last memory format, this order of dimensions flattens without a copy.
        return self.head(self.stages(x).movedim(1, -1).flatten(1))


class Decoder(base.Decoder):
    """A linear layer and residual convolutions that double the size, mirroring the encoder.

    Arguments:
        channels: The channels of the encoder; the decoder reverses them.
    """

    bias_per_channel = True

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        channels: Sequence[int] = (32, 64),
        blocks: int = 2,
        kernel_size: int = 4,
        activation: str = "SiLU",
        normalization: str = "batch",
    ):
        super().__init__()
        dims = len(shape) - 1
        sizes = compute_halved_sizes(shape, channels, kernel_size)
        check_blocks(blocks, normalization)
        self.inside = (*sizes[-1], channels[-1])
        self.head = nn.Linear(latent_dim, math.prod(self.inside))
        widths = pairwise([*reversed(channels), shape[0]])
        stages: list[nn.Module] = []
        for (width, outputs), size in zip(widths, reversed(sizes[:-1]), strict=True):
            stages += [ResidualBlock(dims, width, activation, normalization) for _ in range(blocks)]
            stages += [
                build_normalization(normalization, dims, width),
                build_activation(activation),
            ]
            stages.append(make_upsampling_conv(width, outputs, kernel_size, size))
        self.stages = nn.Sequential(*stages)

    def forward(self, z: Tensor) -> Tensor:
        return self.stages(self.head(z).unflatten(-1, self.inside).movedim(-1, 1))

    @property
    def output(self) -> Any:
        return self.stages[-1]


class ResidualBlock(nn.Module):
    """A residual block, h + conv(act(norm(conv(act(norm(h)))))); before training the identity."""

    def __init__(self, dims: int, channels: int, activation: str, normalization: str):
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [
                build_normalization(normalization, dims, channels),
                build_activation(activation),
                make_conv(dims, channels, channels, 3, padding=1),
            ]
        last: Any = layers[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.change = nn.Sequential(*layers)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.change(h)


def build_normalization(name: str, dims: int, channels: int) -> nn.Module:
    """Build the layer of one of NORMALIZATIONS for x with `dims` spatial dimensions."""
    if name == "batch":
        return make_batch_norm(dims, channels)
    if name == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.Identity()


def check_blocks(blocks: int, normalization: str) -> None:
    """Raise a ValueError for an invalid number of blocks or an unknown normalization."""
    check_sizes("model.blocks", [blocks])
    if normalization not in NORMALIZATIONS:
        raise UserError(
            f"model.normalization={normalization}: choose from {', '.join(NORMALIZATIONS)}"
        )
