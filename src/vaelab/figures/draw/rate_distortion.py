"""Figure of the rate and the distortion of several runs."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vaelab.figures.draw.style import BLUE, WIDTH, new_figure, plot_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_NAMED_POINTS = 12  # more points are plotted without names
MARGIN = 0.15  # of the range, around the points
ELBO_LINES = 7


class RateDistortionPoint(NamedTuple):
    """The rate E[KL(q(z|x) || p(z))] and distortion E[-log p(x|z)] of a run, in nats per image."""

    name: str
    rate: float
    distortion: float


@plot_style()
def plot_rate_distortion(groups: Mapping[str, list[RateDistortionPoint]]) -> Figure:
    """Plot a panel for each group of comparable runs, with lines of equal ELBO.

    Reference: Fixing a Broken ELBO (Alemi et al., 2018), figure 1, arXiv:1711.00464
    """
    figure = new_figure(max(WIDTH / 2 * len(groups), 4.5), 3.6)
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for axes, (group, points) in zip(panels, groups.items(), strict=True):
        rates, distortions = (np.array([point[i] for point in points]) for i in (1, 2))
        axes.set_xlim(*_compute_limits(rates))
        axes.set_ylim(*_compute_limits(distortions))
        _draw_elbo_lines(axes)
        axes.scatter(rates, distortions, 24, BLUE, zorder=3)
        for point in points if len(points) <= MAX_NAMED_POINTS else ():
            _annotate_point(axes, point)
        axes.set(title=fill(group, 44), xlabel="rate: KL (nats per image)")
    panels[0].set_ylabel("distortion: -log p(x|z) (nats per image)")
    return figure


def _annotate_point(axes: Axes, point: RateDistortionPoint) -> None:
    """Write the name beside a point, towards the middle of the panel, outside the layout."""
    is_right = point.rate > sum(axes.get_xlim()) / 2
    axes.annotate(
        fill(point.name, 34),
        (point.rate, point.distortion),
        (-5 if is_right else 5, 5),
        textcoords="offset points",
        fontsize=7,
        ha="right" if is_right else "left",
    ).set_in_layout(False)


def _compute_limits(values: np.ndarray) -> tuple[float, float]:
    margin = MARGIN * np.ptp(values) or 1.0
    return float(values.min() - margin), float(values.max() + margin)


def _draw_elbo_lines(axes: Axes) -> None:
    """Draw the lines rate + distortion = -ELBO of some round numbers."""
    from matplotlib.ticker import MaxNLocator

    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    for total in MaxNLocator(ELBO_LINES).tick_values(left + low, right + high):
        axes.axline((left, total - left), slope=-1, color="#BBBBBB", linewidth=0.7)
        x, y = (left, total - left) if total - left <= high else (total - high, high)
        if y >= low and x <= right:  # the line enters the panel at (x, y)
            alignment = "top" if y == high else "bottom"
            text = f"  ELBO {-total:g}"
            axes.annotate(text, (x, y), fontsize=6, color="#777777", va=alignment)
