"""Images of small shapes with known generative factors: `data=sprites`.

The images are drawn by this module. They are modelled on dSprites (Matthey et al., 2017), which has
40 angles and 32 x 32 positions: https://github.com/google-deepmind/dsprites-dataset
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.data.base import Binarize, DataModule, Split, check_split_fractions, random_split
from vaelab.runtime.errors import UserError


class SpriteShape(NamedTuple):
    """A shape around the origin with radius 1, and the rotation after which it looks the same.

    Attributes:
        contains: Returns a bool tensor that is True for the points (u to the right, v up) inside
            the shape.
        period: The angle of that rotation, in radians.
    """

    contains: Callable[[Tensor, Tensor], Tensor]
    period: float


def _inside_square(u: Tensor, v: Tensor) -> Tensor:
    """max(|u|, |v|) <= sqrt(1/2)"""
    return torch.maximum(u.abs(), v.abs()) <= math.sqrt(0.5)


def _inside_ellipse(u: Tensor, v: Tensor) -> Tensor:
    """u^2 + (2 v)^2 <= 1"""
    return u**2 + (2 * v) ** 2 <= 1


def _inside_heart(u: Tensor, v: Tensor) -> Tensor:
    """(u^2 + v^2 - 1)^3 <= u^2 v^3, whose smallest circle has radius 1.25 around (0, 0.25)."""
    u, v = 1.25 * u, 1.25 * v + 0.25
    return (u**2 + v**2 - 1) ** 3 <= u**2 * v**3


SHAPES = (
    SpriteShape(_inside_square, math.pi / 2),
    SpriteShape(_inside_ellipse, math.pi),
    SpriteShape(_inside_heart, 2 * math.pi),
)


class Sprites(DataModule):
    """Every combination of shape, scale, angle, x and y once, as white shapes on black.

    The labels (N, 5) are the values of the `factors`, as integers from 0:

    - shape: a square, an ellipse and a heart.
    - scale: equal steps from 1/2 to 1.
    - angle: counterclockwise, in equal steps up to the period of the shape (90, 180 or 360
      degrees). No two images of the default settings are equal; with 32x32 pixels, some small
      squares are. Metrics treat angles as ordered, although the last is next to the first.
    - x (to the right) and y (down): equal steps of whole pixels over half of the image.

    The pixels are binary, so data.binarize changes nothing. The images are drawn in a second or two
    and kept in memory, one byte for each pixel: 73,728 images (302 MB) with the default settings.
    The split is random, but always the same.

    Arguments:
        shape: (1, side, side).
        scales, angles: The number of scales and angles.
        positions: The number of values of x, and of y; at most half of the side.
        validation, test: The fractions of the images that are set aside.

    Raises:
        UserError: If an argument is out of range.
    """

    factors = ("shape", "scale", "angle", "x", "y")
    unordered = ("shape",)
    is_binary = True

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
        check_split_fractions(validation, test)
        _check_arguments(self.shape, scales=scales, angles=angles, positions=positions)
        self.sizes = (len(SHAPES), scales, angles, positions, positions)
        self.fractions = (validation, test)

    def load(self) -> dict[str, Split]:
        views, labels = self._make_views(), torch.cartesian_prod(*map(torch.arange, self.sizes))
        return {
            name: Split(_select_images(views, labels[index]), labels[index])
            for name, index in random_split(len(labels), *self.fractions).items()
        }

    def _make_views(self) -> Tensor:
        """Return all images as views (side x side windows) of one larger drawing for each shape.

        Returns:
            uint8 (shapes, scales, angles, positions, positions, side, side). The top left window
            shows the shape furthest to the bottom right.
        """
        side, positions = self.shape[1], self.sizes[-1]
        step = _pixels_per_step(side, positions)
        travel = step * (positions - 1)
        large = _draw_shapes(side + travel, (side - travel - 1) / 2, *self.sizes[1:3])
        return large.unfold(3, side, step).unfold(4, side, step)


def _select_images(views: Tensor, labels: Tensor) -> Tensor:
    """Return the images (N, 1, side, side) with the given labels (N, 5)."""
    shape, scale, angle, x, y = labels.unbind(1)
    return views[shape, scale, angle, -1 - y, -1 - x].unsqueeze(1)


def _draw_shapes(side: int, radius: float, scales: int, angles: int) -> Tensor:
    """Draw each shape at the center of an image.

    Arguments:
        side: The side of the image, in pixels.
        radius: The radius of the shapes at scale 1, in pixels.
        scales, angles: The number of scales and angles.

    Returns:
        uint8 (shapes, scales, angles, side, side), 0 or 255.
    """
    middle = torch.arange(side).double() - (side - 1) / 2
    y, x = torch.meshgrid(-middle, middle, indexing="ij")
    radii = radius * torch.linspace(1, 0.5, scales).double().flip(0).view(-1, 1, 1, 1)
    turns = torch.arange(angles).double().view(-1, 1, 1) / angles
    drawings = []
    for contains, period in SHAPES:
        cos, sin = (period * turns).cos(), (period * turns).sin()
        drawings.append(contains((cos * x + sin * y) / radii, (cos * y - sin * x) / radii))
    return torch.stack(drawings).to(torch.uint8) * 255


def _pixels_per_step(side: int, positions: int) -> int:
    """Return the distance between neighboring positions, which together span half of the side."""
    return side // 2 // positions


def _check_arguments(shape: tuple[int, ...], **counts: int) -> None:
    """Check that the image is square, all counts are positive and the positions fit the image."""
    for name, count in counts.items():
        if count < 1:
            raise UserError(f"data.{name}={count}: it must be at least 1")
    if len(shape) != 3 or shape[0] != 1 or shape[1] != shape[2]:
        raise UserError(
            f"data.shape={list(shape)}: data=sprites makes square grayscale images [1,side,side]; "
            "set a shape as in data.shape=[1,64,64]"
        )
    if _pixels_per_step(shape[1], counts["positions"]) < 1:
        raise UserError(
            f"data.positions={counts['positions']} needs images with a side of at least twice as "
            f"many pixels, but the side is {shape[1]}: set data.positions to at most "
            f"{max(1, shape[1] // 2)}, or a larger data.shape"
        )
