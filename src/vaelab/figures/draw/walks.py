"""Figure of latent interpolations between two images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.figures.draw.style import ORANGE, WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import compute_tile_aspect, plot_tiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@plot_style()
def plot_walks(
    ends: Tensor, between: Tensor, path: str, noun: str = "image", note: str = ""
) -> Figure:
    """Plot a row for each pair: the first image, the decoded interpolation, the second image.

    Arguments:
        ends: The two images of each pair, (R, 2, 1 or 3, H, W) in [0, 1]; they are framed.
        between: The images decoded on the path between their latents, (R, C, 1 or 3, H, W).
        path: The kind of path, such as "in a straight line".
        noun: What the data are called.
        note: What a tile shows, for a second line.
    """
    images = torch.cat([ends[:, :1], between, ends[:, 1:]], 1)
    rows, columns = images.shape[:2]
    figure = new_figure(WIDTH, WIDTH * compute_tile_aspect(images) + 0.42 + 0.16 * bool(note))
    axes = figure.add_subplot()
    labels = [f"{i / (columns - 3):g}" if i % 5 == 0 else "" for i in range(columns - 2)]
    layout = plot_tiles(axes, images, [""] * rows, [noun, *labels, noun])
    for row in range(rows):
        for column in (0, columns - 1):
            layout.draw_frame(axes, row, column, ORANGE)
    text = f"position between the latents of both ends, {path}"
    axes.set_xlabel(f"{text}\n{note}" if note else text)
    return figure
