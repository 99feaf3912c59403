"""The terms of the objective in the course of the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vaelab.figures.draw.style import SKY, VERMILLION, WIDTH, new_figure, plot_style
from vaelab.runs.history import MetricCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 2.6  # inches
BEGINNING = 0.05  # of the steps, which may lie beyond the edge
ROOM = 0.05  # of the range, above and below
FLAT = 0.01  # of the value, where it hardly changes
STYLES = {
    "train": {"color": SKY, "linewidth": 1.0, "label": "train"},
    "val": {"color": VERMILLION, "linewidth": 1.6, "label": "validation"},
}


@plot_style()
def plot_curves(
    found: Mapping[str, Mapping[str, MetricCurve]], per_epoch: float | None = None
) -> Figure:
    """A panel for each term, train and validation together, in nats per image.

    The first twentieth of the steps may leave a panel, or they would fill it.

    Arguments:
        found: Curves by the name of the term and by stage, train or val.
        per_epoch: Optimizer steps of an epoch, for a second axis.
    """
    drawn = new_figure(WIDTH / 3 * max(2, len(found)), HEIGHT)
    panels = drawn.subplots(1, len(found), squeeze=False)[0]
    for axes, (term, stages) in zip(panels, found.items(), strict=True):
        for stage, curve in stages.items():
            marker = "o" if len(curve.steps) == 1 else None
            axes.plot(*curve, marker=marker, markersize=3, **STYLES[stage])
        axes.set_ylim(*_range(stages))
        axes.ticklabel_format(useOffset=False)
        axes.set(title=term, xlabel="optimizer step")
        if per_epoch:
            _count_epochs(axes, per_epoch)
    panels[0].set_ylabel("nats per image")
    panels[-1].legend()
    return drawn


def _range(stages: Mapping[str, MetricCurve]) -> tuple[float, float]:
    """What holds all values but those of the beginning."""
    last = max(curve.steps.max() for curve in stages.values())
    kept = [curve.values[curve.steps >= BEGINNING * last] for curve in stages.values()]
    values = np.concatenate(kept)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = max(ROOM * (high - low), FLAT * max(abs(low), abs(high)), FLAT)
    return low - room, high + room


def _count_epochs(axes: Axes, per_epoch: float) -> None:
    from matplotlib.ticker import MaxNLocator

    both: Any = (lambda step: step / per_epoch, lambda epoch: epoch * per_epoch)
    above = axes.secondary_xaxis("top", functions=both)
    above.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    above.set_xlabel("epoch")
    above.spines[:].set_visible(False)
