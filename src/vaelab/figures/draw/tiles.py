"""Small pictures in rows and columns, inside a figure."""

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
    """Where the tiles of one size lie in the pixels of the whole, `gap` pixels apart."""

    height: int
    width: int
    gap: int = GAP

    def centre(self, row: float, column: float) -> tuple[float, float]:
        """x and y of the middle of a tile; between two tiles, of a place between them."""
        x = self.gap + column * (self.width + self.gap) + (self.width - 1) / 2
        return x, self.gap + row * (self.height + self.gap) + (self.height - 1) / 2

    def frame(self, axes: Axes, row: int, column: int, colour: str) -> None:
        """A line around one tile."""
        from matplotlib.patches import Rectangle

        x, y = self.centre(row, column)
        size = (self.width + self.gap - 1, self.height + self.gap - 1)
        corner = (x - size[0] / 2, y - size[1] / 2)
        axes.add_patch(Rectangle(corner, *size, fill=False, color=colour, linewidth=1.5))


def plot_tiles(
    axes: Axes, images: Tensor, rows: Sequence[str], columns: Sequence[str], gap: int = GAP
) -> TileLayout:
    """Images (R, C, 1 or 3, H, W) in [0, 1], nan as grey, with a label for each row and column."""
    shown = images.flatten(0, 1).float().nan_to_num(0.5).clamp(0, 1)
    whole = make_grid(shown, images.shape[1], padding=gap, pad_value=1.0)
    axes.imshow(whole.movedim(0, -1).numpy())
    height, width = images.shape[-2:]
    place = TileLayout(height, width, gap)
    axes.set_yticks([place.centre(row, 0)[1] for row in range(len(rows))], rows)
    axes.set_xticks([place.centre(0, column)[0] for column in range(len(columns))], columns)
    hide_frame(axes)
    return place


def tile_aspect(images: Tensor) -> float:
    """Height over width of images (R, C, channels, H, W) as tiles."""
    rows, columns, _, height, width = images.shape
    return (rows * (height + GAP) + GAP) / (columns * (width + GAP) + GAP)
