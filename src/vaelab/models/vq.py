"""Residual convolutions between an image and a grid of codes: `model=vq`.

Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), section 4.1,
arXiv:1711.00937
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from vaelab.models import base
from vaelab.models.base import check_is_image, check_sizes
from vaelab.runtime.errors import UserError


class Encoder(nn.Module):
    """Convolutions that halve the image twice, and residual blocks.

    The output consists of outputs / (H/4 W/4) numbers for each of the H/4 x W/4 positions of the
    grid, row by row.

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
        numbers = _numbers_per_position(outputs, _compute_grid(shape))
        self.layers = nn.Sequential(
            nn.Conv2d(shape[0], channels, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 4, 2, 1),
            *(ResidualBlock(channels, residual) for _ in range(blocks)),
            nn.ReLU(),
            nn.Conv2d(channels, numbers, 1),
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
        self.numbers = _numbers_per_position(latent_dim, self.grid)
        self.layers = nn.Sequential(
            nn.Conv2d(self.numbers, channels, 3, padding=1),
            *(ResidualBlock(channels, residual) for _ in range(blocks)),
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

    def check_codes(self, size: int) -> None:
        if self.numbers % size:
            positions = math.prod(self.grid)
            raise UserError(
                f"latent_dim={self.numbers * positions} gives {self.numbers} latents to each of "
                f"the {self.grid[0]}x{self.grid[1]} positions of model=vq, which is not a multiple "
                f"of posterior.dim={size} (the length of a code): leave latent_dim out, or set "
                f"latent_dim={size * positions} for one code at each position"
            )


class LatentSize:
    """Computes latent_dim from the shape of x.

    Arguments:
        dim: The number of latents at each position of the grid.
    """

    def __init__(self, dim: int = 64):
        check_sizes("model.dim", [dim])
        self.dim = dim

    def __call__(self, shape: Sequence[int]) -> int:
        return self.dim * math.prod(_compute_grid(shape))


class ResidualBlock(nn.Module):
    """A residual block: x plus a 3x3 and a 1x1 convolution of relu(x)."""

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


def _check_arguments(channels: int, residual: int, blocks: int) -> None:
    """Raise a ValueError for sizes that are not positive or a negative number of blocks."""
    check_sizes("model.channels", [channels])
    check_sizes("model.residual", [residual])
    if blocks < 0:
        raise UserError(f"model.blocks={blocks}: it must be 0 or more")


def _compute_grid(shape: Sequence[int]) -> tuple[int, int]:
    """Compute rows and columns of the grid of codes, a quarter of the height and width of x."""
    check_is_image("model=vq", shape, "use model=mlp with posterior=vq")
    if shape[1] % 4 or shape[2] % 4:
        raise UserError(
            f"model=vq halves the image twice, so height and width must be multiples of 4, not "
            f"{shape[1]}x{shape[2]}: set data.shape, or use model=conv with posterior=vq"
        )
    return shape[1] // 4, shape[2] // 4


def _numbers_per_position(size: int, grid: tuple[int, int]) -> int:
    """Compute how many of `size` numbers belong to each position of the grid."""
    positions = math.prod(grid)
    if size % positions:
        raise UserError(
            f"model=vq has {grid[0]}x{grid[1]} positions, and {size} numbers cannot be divided "
            f"equally among them: leave latent_dim out, or set posterior=vq and latent_dim to a "
            f"multiple of {positions}, as in latent_dim={64 * positions}"
        )
    return size // positions
