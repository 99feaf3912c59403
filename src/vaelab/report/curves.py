"""Curves of metrics.csv: a panel for each term, with its training and validation curve."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

from vaelab.report.axis import Axis, Frame, Tick, make_axis
from vaelab.report.numbers import format_number
from vaelab.runtime.metric_names import NATS_PER_IMAGE, get_metric

FIRST_TERMS = ("elbo", "reconstruction", "kl")
LAST_TERMS = ("kl_weight", "lr")
MAX_POINTS = 300  # of a curve; more cannot be distinguished
START_FRACTION = 0.1  # of the steps, at the start; they may lie outside the frame
MAX_RANGE_RATIO = 1.5  # the range of all values / the range without the start, at most
FRAME = Frame(360, 220, 52, 350, 10, 186)

Point = tuple[float, float]  # step and value


class PanelCurve(NamedTuple):
    """A curve in a panel.

    Attributes:
        stage: "train" or "val".
        d: The path, in the syntax of SVG's `d` attribute.
        points: For each point the step, the formatted value, x and y.
        last: The last value, formatted.
    """

    stage: str
    d: str
    points: list[tuple[float, str, float, float]]
    last: str


@dataclass(frozen=True)
class CurvePanel:
    """The curves of one term.

    Attributes:
        x, y: The ticks of both axes.
        is_cut: True if the first steps lie outside the frame.
    """

    term: str
    title: str
    unit: str
    curves: list[PanelCurve]
    x: list[Tick]
    y: list[Tick]
    is_cut: bool
    frame: Frame = FRAME


def make_curve_panels(rows: list[dict[str, float]], shape: Any = None) -> list[CurvePanel]:
    """Return panels of the ELBO, the reconstruction term and the KL, then of other logged terms.

    Other terms are left out if they are constant or equal to a previous term up to the sign.

    Arguments:
        rows: The rows of metrics.csv, each with the keys that were logged at its step.
        shape: The shape of one x, which decides whether it is called an image.
    """
    plotted: dict[str, dict[str, list[Point]]] = {}
    for term in _order_terms(rows):
        series = {stage: _select_points(rows, f"{stage}/{term}") for stage in ("train", "val")}
        series = {stage: points for stage, points in series.items() if points}
        values = {value for points in series.values() for _, value in points if isfinite(value)}
        is_new = len(values) > 1 and not _repeats_another_term(series, plotted.values())
        if (term in FIRST_TERMS and values) or is_new:
            plotted[term] = series
    return [_make_panel(term, series, shape) for term, series in plotted.items()]


def _order_terms(rows: list[dict[str, float]]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row)
    logged = [key.split("/", 1)[1] for key in keys if key.startswith(("train/", "val/"))]
    others = sorted({*logged} - {*FIRST_TERMS, *LAST_TERMS})
    return [term for term in (*FIRST_TERMS, *others, *LAST_TERMS) if term in logged]


def _repeats_another_term(
    series: dict[str, list[Point]], others: Iterable[dict[str, list[Point]]]
) -> bool:
    """True if another term has the same absolute values, as loss = -ELBO has those of the ELBO."""
    return any(
        {stage: len(points) for stage, points in series.items()}
        == {stage: len(points) for stage, points in other.items()}
        and all(
            math.isclose(abs(a), abs(b), rel_tol=1e-5)
            for stage in series
            for (_, a), (_, b) in zip(series[stage], other[stage], strict=True)
        )
        for other in others
    )


def _select_points(rows: list[dict[str, float]], key: str) -> list[Point]:
    with_step = [row for row in rows if key in row and isfinite(row.get("step", math.nan))]
    return [(row["step"], row[key]) for row in with_step]


def _make_panel(term: str, series: dict[str, list[Point]], shape: Any) -> CurvePanel:
    steps = [step for points in series.values() for step, _ in points]
    x = Axis(0.0, max(*steps, 1.0), FRAME.left, FRAME.right)
    y, is_cut = _make_vertical_axis(series, START_FRACTION * x.high)
    metric = get_metric(term, NATS_PER_IMAGE, shape)
    curves = [_make_curve(stage, points, x, y) for stage, points in series.items()]
    ticks = x.make_ticks(), y.make_ticks()
    return CurvePanel(term, metric.name, metric.unit, curves, *ticks, is_cut)


def _make_vertical_axis(series: dict[str, list[Point]], start: float) -> tuple[Axis, bool]:
    """Return the vertical axis, and True if it leaves out values of steps before `start`.

    It leaves them out if they would extend the range by more than MAX_RANGE_RATIO.
    """
    points = [point for part in series.values() for point in part if isfinite(point[1])]
    full = make_axis([value for _, value in points], FRAME.bottom, FRAME.top)
    later = [value for step, value in points if step >= start]
    axis = make_axis(later, FRAME.bottom, FRAME.top) if later else full
    is_cut = full.high - full.low > MAX_RANGE_RATIO * (axis.high - axis.low)
    return axis if is_cut else full, is_cut


def _make_curve(stage: str, points: list[Point], x: Axis, y: Axis) -> PanelCurve:
    segments = list(_split_at_non_finite(thin_points(points)))
    located = [[(x.locate(step), y.locate(value)) for step, value in part] for part in segments]
    d = " ".join(f"M{'L'.join(f'{px} {py}' for px, py in part)}h0" for part in located)
    labelled = [
        (step, format_number(value), *position)
        for segment, positions in zip(segments, located, strict=True)
        for (step, value), position in zip(segment, positions, strict=True)
    ]
    return PanelCurve(stage, d, labelled, format_number(points[-1][1]))


def thin_points(points: list[Point], count: int = MAX_POINTS) -> list[Point]:
    """Reduce a curve to about `count` points without losing a spike.

    The smallest and the largest value of each interval are kept, in their order, and the last
    point.
    """
    if len(points) <= count:
        return points
    size = math.ceil(2 * len(points) / count)
    thinned = []
    for start in range(0, len(points), size):
        interval = points[start : start + size]
        finite = [point for point in interval if isfinite(point[1])]
        if len(finite) < len(interval):
            thinned.append((interval[0][0], math.nan))
        if finite:
            extremes = {
                min(finite, key=lambda point: point[1]),
                max(finite, key=lambda point: point[1]),
            }
            thinned += sorted(extremes)
    return thinned if thinned[-1] == points[-1] else [*thinned, points[-1]]


def _split_at_non_finite(points: Iterable[Point]) -> Iterator[list[Point]]:
    """Yield the segments between values that are NaN or infinity."""
    segment: list[Point] = []
    for point in points:
        if isfinite(point[1]):
            segment.append(point)
        elif segment:
            yield segment
            segment = []
    if segment:
        yield segment
