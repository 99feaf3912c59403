"""Figures of a 2D latent space: latents coloured by label, and images decoded on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from vaelab.figures.draw.style import PALETTE, new_figure, plot_style
from vaelab.figures.draw.tiles import plot_tiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_SIZE = 3.4  # inches
DECODED_PANEL_SIZE = 4.2  # inches of a panel of decoded images
LEGEND_WIDTH = 0.9  # inches
MAX_CLASSES = 20  # more classes have no room in the legend, and no colours
RANGE_FACTOR = 1.08  # the range of an axis, divided by the range of the latents
TICK_COUNT = 5  # of a decoded plane


class LatentMap(NamedTuple):
    """The latents of N images in two dimensions, with the labels of the images.

    Attributes:
        points: (N, 2).
        labels: (N,). Integers are classes; NaN means that there is no label.
        axes: The names of the two dimensions.
        classes: The names of the classes 0, 1, ...; empty to show the numbers.
        title: The name of the label, empty if it has none.
        equal: True if both dimensions have the same unit.
    """

    points: np.ndarray
    labels: np.ndarray
    axes: tuple[str, str]
    classes: Sequence[str] = ()
    title: str = ""
    equal: bool = True


@plot_style()
def plot_latent_map(latent_map: LatentMap) -> Figure:
    """Plot the latents of images, coloured by label."""
    figure = new_figure(PANEL_SIZE + LEGEND_WIDTH, PANEL_SIZE)
    _scatter_latents(figure.add_subplot(), latent_map)
    return figure


@plot_style()
def plot_decoded_map(
    latent_map: LatentMap,
    images: Tensor,
    columns: Sequence[float],
    rows: Sequence[float],
    title: str = "",
    note: str = "",
) -> Figure:
    """Plot images decoded on a grid, beside the latents of images coloured by label.

    Arguments:
        images: (R, C, 1 or 3, H, W) in [0, 1].
        columns, rows: The values of the first and of the second dimension.
        title: The label that the decoder was given.
        note: What a tile shows, for a second line.
    """
    figure = new_figure(2 * DECODED_PANEL_SIZE + LEGEND_WIDTH, DECODED_PANEL_SIZE)
    left, right = figure.subplots(1, 2)
    plot_tiles(left, images, _label_some_values(rows), _label_some_values(columns), gap=0)
    xlabel = f"{latent_map.axes[0]}\n{note}" if note else latent_map.axes[0]
    left.set(xlabel=xlabel, ylabel=latent_map.axes[1], title=title)
    _scatter_latents(right, latent_map)
    return figure


def _label_some_values(values: Sequence[float]) -> list[str]:
    """Return labels of TICK_COUNT evenly spaced values, and empty labels of the others."""
    labelled = np.linspace(0, len(values) - 1, TICK_COUNT).round()
    rounded = [round(value, 1) + 0.0 for value in values]  # + 0.0 turns -0.0 into 0.0
    return [f"{value:g}" if i in labelled else "" for i, value in enumerate(rounded)]


def _scatter_latents(axes: Axes, latent_map: LatentMap) -> None:
    points, labels = latent_map.points, latent_map.labels
    size = float(np.clip(6000 / max(1, len(points)), 3, 20))
    style: Any = {"s": size, "linewidths": 0, "alpha": 0.8, "rasterized": True}
    distinct = np.unique(labels)
    if np.isnan(distinct).any():
        axes.scatter(*points.T, color=PALETTE[0], **style)
    elif len(distinct) <= MAX_CLASSES and (distinct == distinct.round()).all():
        colours = choose_class_colours(len(distinct))
        axes.scatter(*points.T, c=colours[np.searchsorted(distinct, labels)], **style)
        _add_legend(axes, latent_map, distinct.astype(int), colours)
    else:
        scatter = axes.scatter(*points.T, c=labels, cmap="viridis", **style)
        bar: Any = axes.figure.colorbar(scatter, label=latent_map.title or "label")
        bar.outline.set_visible(False)
    axes.set(xlabel=latent_map.axes[0], ylabel=latent_map.axes[1])
    if latent_map.equal:
        _set_equal_units(axes, points)


def _set_equal_units(axes: Axes, points: np.ndarray) -> None:
    """Use the same scale and the same length of both axes, with limits that are set in advance.

    Fixed limits have fixed tick labels, for which the layout can reserve space.
    """
    low, high = points.min(0), points.max(0)
    half = RANGE_FACTOR * max(*(high - low), 1e-6) / 2
    for name, middle in zip("xy", (low + high) / 2, strict=True):
        axes.set(**{f"{name}lim": (middle - half, middle + half)})
    axes.set_aspect("equal")


def choose_class_colours(count: int) -> np.ndarray:
    """Return a colour for each class (count, 3): the palette, then paler versions of it."""
    from matplotlib.colors import to_rgb

    strong = np.array([to_rgb(colour) for colour in PALETTE])
    return np.concatenate([strong, 1 - 0.45 * (1 - strong)])[:count]


def _add_legend(
    axes: Axes, latent_map: LatentMap, classes: np.ndarray, colours: np.ndarray
) -> None:
    for number, colour in zip(classes, colours, strict=True):
        has_name = 0 <= number < len(latent_map.classes)
        name = latent_map.classes[number] if has_name else str(number)
        axes.scatter([], [], s=24, color=colour, linewidths=0, label=name)
    position: Any = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "handletextpad": 0}
    axes.legend(title=latent_map.title or None, **position)
