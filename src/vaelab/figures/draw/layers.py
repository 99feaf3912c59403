"""Figure of images whose stochastic layers are fixed from the top, and of the KL of each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.figures.draw.style import BLUE, ORANGE, WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import compute_tile_aspect, plot_tiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KL_HEIGHT = 1.6  # inches


@plot_style()
def plot_layers(
    originals: Tensor, images: Tensor, fixed: Sequence[int], kl: Sequence[float]
) -> Figure:
    """Plot a row of images for each original, and below them a bar for the KL of each layer.

    Arguments:
        originals: (R, 1, 1 or 3, H, W) in [0, 1]; they are framed.
        images: (R, C, 1 or 3, H, W) in [0, 1].
        fixed: The number of fixed layers of each column, (C,).
        kl: Nats of each layer, from the top down, (L,).
    """
    tiles = torch.cat([originals, images], 1)
    height = WIDTH * compute_tile_aspect(tiles)
    figure = new_figure(WIDTH, height + KL_HEIGHT + 0.6)
    axes, bars = figure.subplots(2, 1, height_ratios=[height + 0.3, KL_HEIGHT])
    layout = plot_tiles(axes, tiles, [""] * len(tiles), ["image", *map(str, fixed)])
    for row in range(len(tiles)):
        layout.draw_frame(axes, row, 0, ORANGE)
    axes.set_xlabel(f"layers fixed from the top, of {len(kl)}; the others are at the prior's mean")
    bars.bar(range(1, len(kl) + 1), kl, color=BLUE)
    bars.set_xlabel("layer, from the top")
    bars.set_ylabel("KL, nats")
    bits = bars.secondary_yaxis(
        "right", functions=(lambda y: y / math.log(2), lambda y: y * math.log(2))
    )
    bits.set_ylabel("bits")
    return figure
