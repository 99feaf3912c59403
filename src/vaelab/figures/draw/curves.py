"""Figure of the training and validation curves of the objective's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vaelab.figures.draw.style import STAGE_COLOURS, WIDTH, new_figure, plot_style
from vaelab.runs.history import MetricCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 2.6  # inches
IGNORED_FRACTION = 0.05  # of the steps, at the start; they do not determine the y limits
MARGIN = 0.05  # of the range, above and below
MIN_MARGIN = 0.01  # of the largest value, for a curve that hardly changes
STYLES = {
    "train": {"color": STAGE_COLOURS["train"], "linewidth": 1.0, "label": "train"},
    "val": {"color": STAGE_COLOURS["val"], "linewidth": 1.6, "label": "validation"},
}


@plot_style()
def plot_metric_curves(
    terms: Mapping[str, Mapping[str, MetricCurve]],
    per_epoch: float | None = None,
    unit: str = "nats per image",
) -> Figure:
    """Plot a panel for each term, with its training and validation curves.

    The first IGNORED_FRACTION of the steps may lie outside a panel, since they often span a much
    larger range than the rest.

    Arguments:
        terms: Curves by the name of the term and by stage, "train" or "val".
        per_epoch: Optimizer steps per epoch, for a second axis; None leaves it out.
        unit: The unit of the terms.
    """
    figure = new_figure(WIDTH / 3 * max(2, len(terms)), HEIGHT)
    panels = figure.subplots(1, len(terms), squeeze=False)[0]
    for axes, (term, stages) in zip(panels, terms.items(), strict=True):
        for stage, curve in stages.items():
            marker = "o" if len(curve.steps) == 1 else None
            axes.plot(*curve, marker=marker, markersize=3, **STYLES[stage])
        axes.set_ylim(*_compute_limits(stages))
        axes.ticklabel_format(useOffset=False)
        axes.set(title=term, xlabel="optimizer step")
        if per_epoch:
            _add_epoch_axis(axes, per_epoch)
    panels[0].set_ylabel(unit)
    panels[-1].legend()
    return figure


def _compute_limits(stages: Mapping[str, MetricCurve]) -> tuple[float, float]:
    """Return the range of all finite values, without those of the first steps, plus a margin."""
    last = max(curve.steps.max() for curve in stages.values())
    parts = [curve.values[curve.steps >= IGNORED_FRACTION * last] for curve in stages.values()]
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = max(MARGIN * (high - low), MIN_MARGIN * max(abs(low), abs(high)), MIN_MARGIN)
    return low - margin, high + margin


def _add_epoch_axis(axes: Axes, per_epoch: float) -> None:
    """Add an axis of epochs above the panel."""
    from matplotlib.ticker import MaxNLocator

    conversions: Any = (lambda step: step / per_epoch, lambda epoch: epoch * per_epoch)
    top = axes.secondary_xaxis("top", functions=conversions)
    top.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    top.set_xlabel("epoch")
    top.spines[:].set_visible(False)
