"""Generated binary volumes of ellipsoids and boxes: `data=volumes`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vaelab.data.base import Binarize, DataModule, Split, check_generated_sizes
from vaelab.distributions.pixels import Pixels
from vaelab.runtime.errors import UserError
from vaelab.runtime.seeding import Stream, seeded_noise

HALF_AXES = (0.2, 0.38)  # of an ellipsoid, in units of the shortest edge of the volume
BOX_SIZE = 0.7  # the half edge of a box, in units of a half axis
SHIFT = 0.06  # the largest shift of the center along each axis, in units of the shortest edge
CHUNK = 500  # volumes that are computed at once
ELLIPSOID, BOX = range(2)


class Volumes(DataModule):
    """One filled ellipsoid or box in each volume (N, 1, D, H, W), rotated and shifted at random.

    The three half axes are uniform in HALF_AXES, the rotation is uniform, and the center is uniform
    in a cube of edge 2 SHIFT. The voxels are binary, so data.binarize changes nothing. The labels
    (N,) are the `classes`.

    Arguments:
        shape: (1, depth, height, width).
        train, validation, test: The number of volumes in each split.
        draw: The seed of the volumes; `seed` is the seed of their order in training.

    Raises:
        UserError: If an argument is out of range.
    """

    classes = ("ellipsoid", "box")

    def __init__(
        self,
        shape: Sequence[int] = (1, 16, 16, 16),
        train: int = 6_000,
        validation: int = 500,
        test: int = 1_000,
        draw: int = 0,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize)
        check_generated_sizes(train, validation, test, draw)
        if len(self.shape) != 4 or self.shape[0] != 1 or min(self.shape) < 1:
            raise UserError(
                f"data.shape={list(self.shape)}: data=volumes makes volumes [1,depth,height,width];"
                " set a shape as in data.shape=[1,16,16,16]"
            )
        if dequantize:
            raise UserError(
                "data.dequantize=true needs pixels with 256 levels, but those of data=volumes are "
                "binary: set data.dequantize=false"
            )
        self.binarize: Binarize = "none"  # the voxels are binary already
        self.draw = draw
        self.sizes = {"train": train, "val": validation, "test": test}

    @property
    def pixels(self) -> Pixels:
        return "binary"

    def load(self) -> dict[str, Split]:
        return {name: self._make_split(i, n) for i, (name, n) in enumerate(self.sizes.items())}

    def _make_split(self, number: int, count: int) -> Split:
        """Make the volumes of split `number`, counted from 0."""
        edge = min(self.shape[1:])
        with seeded_noise(Stream.POINTS, self.draw, number):
            labels = torch.randint(len(self.classes), (count,))
            low, high = HALF_AXES
            axes = edge * (low + (high - low) * torch.rand(count, 3))
            centers = edge * SHIFT * (2 * torch.rand(count, 3) - 1)
            rotations = _quaternions_to_rotations(torch.randn(count, 4))
        parts = zip(
            *(part.split(CHUNK) for part in (labels, axes, centers, rotations)), strict=True
        )
        x = [_fill_shapes(self.shape[1:], *part) for part in parts]
        empty = torch.empty(0, *self.shape, dtype=torch.uint8)
        return Split(torch.cat([empty, *x]), labels)


def _fill_shapes(
    size: Sequence[int], labels: Tensor, axes: Tensor, centers: Tensor, rotations: Tensor
) -> Tensor:
    """Return uint8 volumes (N, 1, *size), 255 for voxels whose center is inside the shape.

    Arguments:
        labels: The classes (N,).
        axes: The half axes in voxels, (N, 3).
        centers: The position of each shape relative to the center of the volume, in voxels (N, 3).
        rotations: (N, 3, 3).
    """
    grids = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in size), indexing="ij")
    points = torch.stack(grids, -1).reshape(-1, 3) - centers.unsqueeze(1)
    points = (points @ rotations) / axes.unsqueeze(1)
    is_in_ellipsoid = points.square().sum(-1) <= 1
    is_in_box = points.abs().amax(-1) <= BOX_SIZE
    inside = torch.where((labels == BOX).unsqueeze(1), is_in_box, is_in_ellipsoid)
    return inside.reshape(-1, 1, *size).to(torch.uint8) * 255


def _quaternions_to_rotations(q: Tensor) -> Tensor:
    """Return rotation matrices (N, 3, 3) of quaternions (N, 4), which need not have norm 1.

    Normal quaternions give uniform rotations.
    """
    a, b, c, d = (q / q.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        [1 - 2 * (c * c + d * d), 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), 1 - 2 * (b * b + d * d), 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), 1 - 2 * (b * b + c * c)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], 1)
