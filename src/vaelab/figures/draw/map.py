"""The latent space in the plane: codes by class, and what is decoded there."""

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

SIZE = 3.4  # inches of a panel
WIDE = 4.2  # where pictures fill it
LEGEND = 0.9
NAMED = 20  # classes that a legend has room for, and colours
ROOM = 1.08  # of the range of the codes
TICKS = 5  # of a decoded plane


class Cloud(NamedTuple):
    """Codes of images, with what is known of the images.

    Attributes:
        points: (N, 2).
        labels: (N,): whole numbers are classes; nan where there are none.
        axes: The names of the two dimensions.
        classes: The names of 0, 1, ...; without them the numbers are taken.
        title: What the labels are, where that has a name.
        equal: Whether the two dimensions have one unit.
    """

    points: np.ndarray
    labels: np.ndarray
    axes: tuple[str, str]
    classes: Sequence[str] = ()
    title: str = ""
    equal: bool = True


@plot_style()
def plot_latent_map(cloud: Cloud) -> Figure:
    """The codes of images, coloured by their labels."""
    drawn = new_figure(SIZE + LEGEND, SIZE)
    _scatter(drawn.add_subplot(), cloud)
    return drawn


@plot_style()
def plot_decoded_map(
    cloud: Cloud,
    images: Tensor,
    columns: Sequence[float],
    rows: Sequence[float],
    title: str = "",
) -> Figure:
    """What the plane decodes to, beside the codes of images.

    Arguments:
        images: (R, C, 1 or 3, H, W) in [0, 1].
        columns, rows: The values of the first and of the second dimension.
        title: What the decoder was given besides.
    """
    drawn = new_figure(2 * WIDE + LEGEND, WIDE)
    left, right = drawn.subplots(1, 2)
    plot_tiles(left, images, _some(rows), _some(columns), gap=0)
    left.set(xlabel=cloud.axes[0], ylabel=cloud.axes[1], title=title)
    _scatter(right, cloud)
    return drawn


def _some(values: Sequence[float]) -> list[str]:
    """TICKS of the values, the first and the last among them, and nothing for the others."""
    named = np.linspace(0, len(values) - 1, TICKS).round()
    rounded = [round(value, 1) + 0.0 for value in values]  # + 0.0, for there is no -0.0
    return [f"{value:g}" if i in named else "" for i, value in enumerate(rounded)]


def _scatter(axes: Axes, cloud: Cloud) -> None:
    size = float(np.clip(6000 / max(1, len(cloud.points)), 3, 20))
    dots: Any = {"s": size, "linewidths": 0, "alpha": 0.8, "rasterized": True}
    kinds = np.unique(cloud.labels)
    if np.isnan(kinds).any():
        axes.scatter(*cloud.points.T, color=PALETTE[0], **dots)
    elif len(kinds) <= NAMED and (kinds == kinds.round()).all():
        colours = _colours(len(kinds))
        axes.scatter(*cloud.points.T, c=colours[np.searchsorted(kinds, cloud.labels)], **dots)
        _legend(axes, cloud, kinds.astype(int), colours)
    else:
        shown = axes.scatter(*cloud.points.T, c=cloud.labels, cmap="viridis", **dots)
        bar: Any = axes.figure.colorbar(shown, label=cloud.title or "label")
        bar.outline.set_visible(False)
    axes.set(xlabel=cloud.axes[0], ylabel=cloud.axes[1])
    if cloud.equal:
        _square(axes, cloud.points)


def _square(axes: Axes, points: np.ndarray) -> None:
    """One unit for both axes, of which the room for their labels can be known before."""
    low, high = points.min(0), points.max(0)
    half = ROOM * max(*(high - low), 1e-6) / 2
    for name, middle in zip("xy", (low + high) / 2, strict=True):
        axes.set(**{f"{name}lim": (middle - half, middle + half)})
    axes.set_aspect("equal")


def _colours(count: int) -> np.ndarray:
    """Of each class (count, 3): those of the palette, then the same ones paler."""
    from matplotlib.colors import to_rgb

    strong = np.array([to_rgb(each) for each in PALETTE])
    return np.concatenate([strong, 1 - 0.45 * (1 - strong)])[:count]


def _legend(axes: Axes, cloud: Cloud, kinds: np.ndarray, colours: np.ndarray) -> None:
    for kind, colour in zip(kinds, colours, strict=True):
        name = cloud.classes[kind] if 0 <= kind < len(cloud.classes) else str(kind)
        axes.scatter([], [], s=24, color=colour, linewidths=0, label=name)
    side: Any = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "handletextpad": 0}
    axes.legend(title=cloud.title or None, **side)
