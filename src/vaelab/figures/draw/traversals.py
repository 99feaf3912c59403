"""Figure of latent traversals: one latent dimension changes in each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.figures.draw.style import ORANGE, WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import compute_tile_aspect, plot_tiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@plot_style()
def plot_traversals(
    images: Tensor,
    labels: Sequence[str],
    values: Tensor,
    original: Tensor,
    unit: str,
    noun: str = "image",
    note: str = "",
) -> Figure:
    """Plot a row for each dimension and a column for each value that it takes.

    The tile nearest to the original value of a dimension is framed, unless that value lies outside
    the range of the columns.

    Arguments:
        images: (R, C, 1 or 3, H, W) in [0, 1].
        labels: The names of the dimensions.
        values: (C,), evenly spaced.
        original: The value of each dimension in the latent vector of the image, (R,).
        unit: The unit of the values.
        noun: What the data are called.
        note: What a tile shows, for a second line.
    """
    figure = new_figure(WIDTH, 0.83 * WIDTH * compute_tile_aspect(images) + 0.5 + 0.16 * bool(note))
    axes = figure.add_subplot()
    columns = [f"{value:g}" if i % 2 == 0 else "" for i, value in enumerate(values.tolist())]
    layout = plot_tiles(axes, images, labels, columns)
    has_frame = False
    for row, value in enumerate(original):
        distance, nearest = (values - value).abs().min(0)
        if distance <= (values[1] - values[0]) / 2:
            layout.draw_frame(axes, row, int(nearest), ORANGE)
            has_frame = True
    text = f"{unit}; framed: nearest to the original {noun}" if has_frame else unit
    axes.set_xlabel(f"{text}\n{note}" if note else text)
    return figure
