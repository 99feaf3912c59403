"""From one image to another, through the codes between theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.figures.draw.style import ORANGE, WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import plot_tiles, tile_aspect

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@plot_style()
def plot_walks(ends: Tensor, between: Tensor, path: str) -> Figure:
    """A row for each pair: an image, what is decoded on the way, and the other image.

    Arguments:
        ends: The images (R, 2, 1 or 3, H, W) with values in [0, 1]; they are framed.
        between: (R, C, 1 or 3, H, W), decoded from the code of the one to that of the other.
        path: What the way is called.
    """
    images = torch.cat([ends[:, :1], between, ends[:, 1:]], 1)
    rows, columns = images.shape[:2]
    drawn = new_figure(WIDTH, WIDTH * tile_aspect(images) + 0.42)
    axes = drawn.add_subplot()
    labels = [f"{i / (columns - 3):g}" if i % 5 == 0 else "" for i in range(columns - 2)]
    place = plot_tiles(axes, images, [""] * rows, ["image", *labels, "image"])
    for row in range(rows):
        for column in (0, columns - 1):
            place.frame(axes, row, column, ORANGE)
    axes.set_xlabel(f"share of the way between their codes, {path}")
    return drawn
