"""Residual convolutions between x and a grid of codes: `model=vq`.

Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), section 4.1,
arXiv:1711.00937
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from vaelab.models import base
from vaelab.models.base import check_sizes
from vaelab.models.spatial import (
    NOUNS,
    check_is_spatial,
    format_size,
    make_conv,
    make_transposed_conv,
)
from vaelab.runtime.errors import UserError


class Encoder(nn.Module):
    """Convolutions that halve x twice, and residual blocks.

    x is a series, an image or a volume: see models/spatial.py. The output consists of equally many
    numbers for each position of the grid, in row-major order. The grid of images has H/4 x W/4
    positions.

    Arguments:
        channels: The channels of every convolution.
        residual: The channels inside a residual block.
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
        _check_arguments(channels, residual, blocks)
        grid = _compute_grid(shape)
        dims, numbers = len(grid), _numbers_per_position(outputs, grid)
        self.layers = nn.Sequential(
            make_conv(dims, shape[0], channels, 4, 2, 1),
            nn.ReLU(),
            make_conv(dims, channels, channels, 4, 2, 1),
            *(ResidualBlock(dims, channels, residual) for _ in range(blocks)),
            nn.ReLU(),
            make_conv(dims, channels, numbers, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).movedim(1, -1).flatten(1)


class Decoder(base.Decoder):
    """The mirror image of the encoder, with the same arguments."""

    bias_per_channel = True

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        channels: int = 128,
        residual: int = 32,
        blocks: int = 2,
    ):
        super().__init__()
        _check_arguments(channels, residual, blocks)
        self.grid = _compute_grid(shape)
        dims, self.numbers = len(self.grid), _numbers_per_position(latent_dim, self.grid)
        self.layers = nn.Sequential(
            make_conv(dims, self.numbers, channels, 3, padding=1),
            *(ResidualBlock(dims, channels, residual) for _ in range(blocks)),
            nn.ReLU(),
            make_transposed_conv(dims, channels, channels, 4, 2, 1),
            nn.ReLU(),
            make_transposed_conv(dims, channels, shape[0], 4, 2, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z.unflatten(-1, (*self.grid, -1)).movedim(-1, 1))

    @property
    def output(self) -> Any:
        return self.layers[-1]

    def check_codes(self, size: int, setting: str = "posterior.dim") -> None:
        if self.numbers % size:
            positions = math.prod(self.grid)
            raise UserError(
                f"latent_dim={self.numbers * positions} gives {self.numbers} latents to each of "
                f"the {format_size(self.grid)} positions of model=vq, which is not a multiple "
                f"of {setting}={size} (the length of a code): leave latent_dim out, or set "
                f"latent_dim={size * positions} for one code at each position"
            )


class LatentSize:
    """Computes latent_dim from the shape of x, with one code at each position of the grid.

    Arguments:
        dim: The length of a code, if neither levels nor bits are given.
        levels: The levels of posterior=fsq, whose codes have one number for each.
        bits: The length of a code of posterior=lfq.
        depth: The number of codes that posterior=residual_vq adds up at each position.
    """

    def __init__(
        self,
        dim: int = 64,
        levels: Sequence[int] | None = None,
        bits: int | None = None,
        depth: int = 1,
    ):
        check_sizes("model.dim", [dim])
        self.dim = (len(levels) if levels else bits or dim) * depth

    def __call__(self, shape: Sequence[int]) -> int:
        return self.dim * math.prod(self.compute_grid(shape))

    def compute_grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Compute the size of the grid of codes of an x of this shape."""
        return _compute_grid(shape)


class ResidualBlock(nn.Module):
    """A residual block: x plus two convolutions, of kernel sizes 3 and 1, of relu(x)."""

    def __init__(self, dims: int, channels: int, inside: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            make_conv(dims, channels, inside, 3, padding=1),
            nn.ReLU(),
            make_conv(dims, inside, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _check_arguments(channels: int, residual: int, blocks: int) -> None:
    """Raise a ValueError for sizes that are not positive or a negative number of blocks."""
    check_sizes("model.channels", [channels])
    check_sizes("model.residual", [residual])
    if blocks < 0:
        raise UserError(f"model.blocks={blocks}: it must be 0 or more")


def _compute_grid(shape: Sequence[int]) -> tuple[int, ...]:
    """Compute the size of the grid of codes, a quarter of each spatial size of x."""
    check_is_spatial("model=vq", shape, "use model=mlp with posterior=vq")
    size = shape[1:]
    if any(edge % 4 for edge in size):
        raise UserError(
            f"model=vq halves {NOUNS[len(size)]} twice, so its sizes must be multiples of 4, not "
            f"{format_size(size)}: set data.shape, or use model=conv with posterior=vq"
        )
    return tuple(edge // 4 for edge in size)


def _numbers_per_position(size: int, grid: tuple[int, ...]) -> int:
    """Compute how many of `size` numbers belong to each position of the grid."""
    positions = math.prod(grid)
    if size % positions:
        raise UserError(
            f"model=vq has {format_size(grid)} positions, and {size} numbers cannot be divided "
            f"equally among them: leave latent_dim out, or set posterior=vq and latent_dim to a "
            f"multiple of {positions}, as in latent_dim={64 * positions}"
        )
    return size // positions
