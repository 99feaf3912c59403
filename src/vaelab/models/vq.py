"""Residual convolutions to a grid of codes and back: `model=vq`.

Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), section 4.1,
arXiv:1711.00937
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from vaelab.models import base
from vaelab.models.base import check_sizes


class Encoder(nn.Module):
    """Halves the picture twice, then residual blocks; the output is position by position.

    Each of the H/4 x W/4 positions, row by row, has outputs / (H/4 W/4) numbers.

    Arguments:
        channels: Of every convolution.
        residual: Channels inside a residual block.
        blocks: The number of residual blocks.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: int = 128,
        residual: int = 32,
        blocks: int = 2,
    ):
        super().__init__()
        _check(channels, residual, blocks)
        each = _of_each(outputs, _grid(shape))
        self.layers = nn.Sequential(
            nn.Conv2d(shape[0], channels, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 4, 2, 1),
            *(Residual(channels, residual) for _ in range(blocks)),
            nn.ReLU(),
            nn.Conv2d(channels, each, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).movedim(1, -1).flatten(1)


class Decoder(base.Decoder):
    """The encoder turned around."""

    shared = True

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        channels: int = 128,
        residual: int = 32,
        blocks: int = 2,
    ):
        super().__init__()
        _check(channels, residual, blocks)
        self.grid = _grid(shape)
        self.layers = nn.Sequential(
            nn.Conv2d(_of_each(latent_dim, self.grid), channels, 3, padding=1),
            *(Residual(channels, residual) for _ in range(blocks)),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, channels, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, shape[0], 4, 2, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z.unflatten(-1, (*self.grid, -1)).movedim(-1, 1))

    @property
    def output(self) -> Any:
        return self.layers[-1]


class Residual(nn.Module):
    """x + a 3x3 and a 1x1 convolution of relu(x)."""

    def __init__(self, channels: int, inside: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, inside, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(inside, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _check(channels: int, residual: int, blocks: int) -> None:
    check_sizes("model.channels", [channels])
    check_sizes("model.residual", [residual])
    if blocks < 0:
        raise ValueError(f"model.blocks={blocks}: it must not be negative")


def _grid(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the positions."""
    if len(shape) != 3:
        raise ValueError(
            f"model=vq needs pictures (C, H, W), but data.shape={list(shape)}: use model=mlp with "
            "posterior=vq"
        )
    if shape[1] % 4 or shape[2] % 4:
        raise ValueError(
            f"model=vq halves the picture twice, so height and width must be multiples of 4, not "
            f"{shape[1]}x{shape[2]}: set data.shape, or model=conv with posterior=vq"
        )
    return shape[1] // 4, shape[2] // 4


def _of_each(size: int, grid: tuple[int, int]) -> int:
    """How many of `size` numbers each position has."""
    positions = math.prod(grid)
    if size % positions:
        raise ValueError(
            f"model=vq has {grid[0]}x{grid[1]} positions, among which {size} numbers cannot be "
            f"shared out: set posterior=vq and latent_dim to a multiple of {positions}, as in "
            f"latent_dim={64 * positions}"
        )
    return size // positions
