"""One latent dimension after another moved, all others held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.figures.draw.style import ORANGE, WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import plot_tiles, tile_aspect

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@plot_style()
def plot_traversals(
    images: Tensor, labels: Sequence[str], values: Tensor, own: Tensor, unit: str
) -> Figure:
    """A row for each dimension, a column for each value that it takes.

    Arguments:
        images: (R, C, 1 or 3, H, W) in [0, 1].
        labels: Of the rows.
        values: (C,).
        own: The value (R,) of the image that is moved; the tile nearest to it is framed, unless it
            lies beyond them, and what the frame means is said below.
        unit: Of the values.
    """
    drawn = new_figure(WIDTH, 0.83 * WIDTH * tile_aspect(images) + 0.5)
    axes = drawn.add_subplot()
    columns = [f"{value:g}" if i % 2 == 0 else "" for i, value in enumerate(values.tolist())]
    place = plot_tiles(axes, images, labels, columns)
    framed = False
    for row, value in enumerate(own):
        distance, nearest = (values - value).abs().min(0)
        if distance <= (values[1] - values[0]) / 2:
            place.frame(axes, row, int(nearest), ORANGE)
            framed = True
    axes.set_xlabel(f"{unit}; framed: nearest to the image's own" if framed else unit)
    return drawn
