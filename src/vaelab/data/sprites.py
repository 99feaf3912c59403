"""Small shapes whose factors are known: `data=sprites`.

Drawn here, after dSprites (Matthey et al., 2017), which has 40 angles and 32 x 32 places:
https://github.com/google-deepmind/dsprites-dataset
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.data.base import Binarize, DataModule, Split, check_fractions, random_split
from vaelab.distributions.pixels import Pixels


class Shape(NamedTuple):
    """A figure around the origin that reaches as far as 1, and the turn that it looks alike after.

    Arguments:
        holds: Whether points (u to the right, v up) belong to it.
        period: In radians.
    """

    holds: Callable[[Tensor, Tensor], Tensor]
    period: float


def _square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) <= math.sqrt(0.5)


def _ellipse(u: Tensor, v: Tensor) -> Tensor:
    return u**2 + (2 * v) ** 2 <= 1


def _heart(u: Tensor, v: Tensor) -> Tensor:
    """(u^2 + v^2 - 1)^3 <= u^2 v^3, whose smallest circle has radius 1.25 around (0, 0.25)."""
    u, v = 1.25 * u, 1.25 * v + 0.25
    return (u**2 + v**2 - 1) ** 3 <= u**2 * v**3


SHAPES = (
    Shape(_square, math.pi / 2),
    Shape(_ellipse, math.pi),
    Shape(_heart, 2 * math.pi),
)


class Sprites(DataModule):
    """Every combination of shape, scale, angle, x and y, once, white on black and without greys.

    Labels (N, 5) count the values of the `factors` from 0. Shapes are a square, an ellipse and a
    heart. Scales go in equal steps from 1/2 to 1. Angles go anticlockwise, in equal steps through
    the turn after which a shape looks alike (90 degrees, 180, 360): no two pictures of the default
    are the same, but of 32 pixels some small squares are. For the metrics angles have an order,
    though the last is next to the first. x goes to the right and y down, in equal steps of whole
    pixels over half of the picture.

    The pictures are bits as they are: data.binarize changes nothing. They are drawn in a second or
    two and kept in memory, a byte for each pixel: by default 73,728 pictures, 302 MB. The split is
    drawn at random but always the same.

    Arguments:
        shape: (1, side, side).
        positions: Of x, and as many of y; at most half of the side.
        validation, test: The fractions that are set aside.
    """

    factors = ("shape", "scale", "angle", "x", "y")
    unordered = ("shape",)

    def __init__(
        self,
        shape: Sequence[int] = (1, 64, 64),
        scales: int = 6,
        angles: int = 16,
        positions: int = 16,
        validation: float = 0.1,
        test: float = 0.1,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize)
        check_fractions(validation, test)
        _check(self.shape, scales=scales, angles=angles, positions=positions)
        if dequantize:
            raise ValueError(
                "data.dequantize=true spreads 256 levels over real numbers, but sprites are bits: "
                "set data.dequantize=false"
            )
        self.binarize: Binarize = "none"  # there is nothing to draw
        self.sizes = (len(SHAPES), scales, angles, positions, positions)
        self.fractions = (validation, test)

    @property
    def pixels(self) -> Pixels:
        return "binary"

    def load(self) -> dict[str, Split]:
        views, labels = self._views(), torch.cartesian_prod(*map(torch.arange, self.sizes))
        return {
            name: Split(_pictures(views, labels[index]), labels[index])
            for name, index in random_split(len(labels), *self.fractions).items()
        }

    def _views(self) -> Tensor:
        """(shapes, scales, angles, positions, positions, side, side), of a larger drawing of each
        figure: the view from the top left has it furthest to the bottom right."""
        side, positions = self.shape[1], self.sizes[-1]
        step = _step(side, positions)
        travel = step * (positions - 1)
        large = _drawings(side + travel, (side - travel - 1) / 2, *self.sizes[1:3])
        return large.unfold(3, side, step).unfold(4, side, step)


def _pictures(views: Tensor, labels: Tensor) -> Tensor:
    shape, scale, angle, x, y = labels.unbind(1)
    return views[shape, scale, angle, -1 - y, -1 - x].unsqueeze(1)


def _drawings(side: int, radius: float, scales: int, angles: int) -> Tensor:
    """Each figure in the middle of a picture, uint8 (shapes, scales, angles, side, side).

    Arguments:
        radius: Of the largest figures, in pixels.
    """
    middle = torch.arange(side).double() - (side - 1) / 2
    y, x = torch.meshgrid(-middle, middle, indexing="ij")
    radii = radius * torch.linspace(1, 0.5, scales).double().flip(0).view(-1, 1, 1, 1)
    turns = torch.arange(angles).double().view(-1, 1, 1) / angles
    drawings = []
    for holds, period in SHAPES:
        cos, sin = (period * turns).cos(), (period * turns).sin()
        drawings.append(holds((cos * x + sin * y) / radii, (cos * y - sin * x) / radii))
    return torch.stack(drawings).to(torch.uint8) * 255


def _step(side: int, positions: int) -> int:
    """Pixels between two positions, which together take up half of the side."""
    return side // 2 // positions


def _check(shape: tuple[int, ...], **counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"data.{name}={count}: it must be at least 1")
    if len(shape) != 3 or shape[0] != 1 or shape[1] != shape[2]:
        raise ValueError(
            f"data.shape={list(shape)}: sprites are [1,side,side], as in data.shape=[1,64,64]"
        )
    if _step(shape[1], counts["positions"]) < 1:
        raise ValueError(
            f"data.positions={counts['positions']} need data.shape of at least twice as many "
            f"pixels, not {shape[1]}: set data.positions={max(1, shape[1] // 2)} or less"
        )
