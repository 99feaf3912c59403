"""A grid of small images (tiles) with labels, inside the axes of a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor
from torchvision.utils import make_grid

from vaelab.figures.draw.style import hide_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP = 2  # pixels


class TileLayout(NamedTuple):
    """Positions of tiles of one size in a grid, in pixels.

    Attributes:
        height, width: The size of a tile.
        gap: The distance between two tiles.
    """

    height: int
    width: int
    gap: int = GAP

    def get_centre(self, row: float, column: float) -> tuple[float, float]:
        """Return x and y of the centre of a tile; fractions are positions between tiles."""
        x = self.gap + column * (self.width + self.gap) + (self.width - 1) / 2
        return x, self.gap + row * (self.height + self.gap) + (self.height - 1) / 2

    def draw_frame(self, axes: Axes, row: int, column: int, colour: str) -> None:
        """Draw a rectangle around one tile."""
        from matplotlib.patches import Rectangle

        x, y = self.get_centre(row, column)
        size = (self.width + self.gap - 1, self.height + self.gap - 1)
        corner = (x - size[0] / 2, y - size[1] / 2)
        axes.add_patch(Rectangle(corner, *size, fill=False, color=colour, linewidth=1.5))


def plot_tiles(
    axes: Axes, images: Tensor, rows: Sequence[str], columns: Sequence[str], gap: int = GAP
) -> TileLayout:
    """Plot images as tiles, with a label for each row and column.

    Arguments:
        images: (R, C, 1 or 3, H, W) in [0, 1]; NaN becomes medium gray.
        rows, columns: The labels.
        gap: Pixels between two tiles.
    """
    tiles = images.flatten(0, 1).float().nan_to_num(0.5).clamp(0, 1)
    grid = make_grid(tiles, images.shape[1], padding=gap, pad_value=1.0)
    axes.imshow(grid.movedim(0, -1).numpy())
    height, width = images.shape[-2:]
    layout = TileLayout(height, width, gap)
    axes.set_yticks([layout.get_centre(row, 0)[1] for row in range(len(rows))], rows)
    axes.set_xticks([layout.get_centre(0, column)[0] for column in range(len(columns))], columns)
    hide_frame(axes)
    return layout


def compute_tile_aspect(images: Tensor) -> float:
    """Return height / width of a grid of tiles of images (R, C, channels, H, W)."""
    rows, columns, _, height, width = images.shape
    return (rows * (height + GAP) + GAP) / (columns * (width + GAP) + GAP)
