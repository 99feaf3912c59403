"""Where runs stand between rate and distortion."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vaelab.figures.draw.style import BLUE, WIDTH, new_figure, plot_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 12  # points with a name, at most
ROOM = 0.15  # of the range, around the points
LINES = 7


class RateDistortionPoint(NamedTuple):
    """Rate E[KL(q(z|x) || p(z))] and distortion E[-log p(x|z)], in nats per image."""

    name: str
    rate: float
    distortion: float


@plot_style()
def plot_rate_distortion(groups: Mapping[str, list[RateDistortionPoint]]) -> Figure:
    """A panel for each group of runs that can be compared; lines have the same ELBO.

    Reference: Fixing a Broken ELBO (Alemi et al., 2018), figure 1, arXiv:1711.00464
    """
    drawn = new_figure(max(WIDTH / 2 * len(groups), 4.5), 3.6)
    panels = drawn.subplots(1, len(groups), squeeze=False)[0]
    for axes, (group, points) in zip(panels, groups.items(), strict=True):
        rates, distortions = (np.array([point[i] for point in points]) for i in (1, 2))
        axes.set_xlim(*_around(rates))
        axes.set_ylim(*_around(distortions))
        _draw_elbos(axes)
        axes.scatter(rates, distortions, 24, BLUE, zorder=3)
        for point in points if len(points) <= NAMED else ():
            _name(axes, point)
        axes.set(title=fill(group, 44), xlabel="rate: KL (nats per image)")
    panels[0].set_ylabel("distortion: -log p(x|z) (nats per image)")
    return drawn


def _name(axes: Axes, point: RateDistortionPoint) -> None:
    """Write the name beside a point, towards the middle of the panel, and let that be."""
    right = point.rate > sum(axes.get_xlim()) / 2
    axes.annotate(
        fill(point.name, 34),
        (point.rate, point.distortion),
        (-5 if right else 5, 5),
        textcoords="offset points",
        fontsize=7,
        ha="right" if right else "left",
    ).set_in_layout(False)


def _around(values: np.ndarray) -> tuple[float, float]:
    room = ROOM * np.ptp(values) or 1.0
    return float(values.min() - room), float(values.max() + room)


def _draw_elbos(axes: Axes) -> None:
    """rate + distortion = -ELBO, for some round numbers."""
    from matplotlib.ticker import MaxNLocator

    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    for total in MaxNLocator(LINES).tick_values(left + low, right + high):
        axes.axline((left, total - left), slope=-1, color="#BBBBBB", linewidth=0.7)
        x, y = (left, total - left) if total - left <= high else (total - high, high)
        if y >= low and x <= right:  # where the line comes into the panel
            below = "top" if y == high else "bottom"
            text = f"  ELBO {-total:g}"
            axes.annotate(text, (x, y), fontsize=6, color="#777777", va=below)
