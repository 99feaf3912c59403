"""The curves of metrics.csv: a panel for each term, training and validation in it."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

from vaelab.report.axis import Axis, Frame, Tick, around
from vaelab.report.numbers import format_number
from vaelab.runtime.metric_names import METRICS, NATS_PER_IMAGE

FIRST = ("elbo", "reconstruction", "kl")
LAST = ("kl_weight", "lr")
UNITS = {"kl_weight": "", "lr": ""}
NAMES = {"lr": "learning rate", "kl_weight": "weight of the KL", "loss": "loss"}
POINTS = 300  # of a curve, at most; more cannot be seen
LATER = 0.1  # of the steps: what comes before may lie outside the frame
CROWDED = 1.5  # of the room that the rest needs, the most that all may take
FRAME = Frame(360, 220, 52, 350, 10, 186)

Point = tuple[float, float]


class Curve(NamedTuple):
    """One line: d of its path; of each point step, value in words, x and y."""

    stage: str
    d: str
    points: list[tuple[float, str, float, float]]
    last: str


@dataclass(frozen=True)
class Panel:
    term: str
    title: str
    unit: str
    curves: list[Curve]
    x: list[Tick]
    y: list[Tick]
    cut: bool  # whether the first steps leave the frame
    frame: Frame = FRAME


def panels(rows: list[dict[str, float]]) -> list[Panel]:
    """ELBO, reconstruction and KL, then what else was logged, moves and says something new."""
    shown: dict[str, dict[str, list[Point]]] = {}
    for term in _terms(rows):
        series = {stage: _series(rows, f"{stage}/{term}") for stage in ("train", "val")}
        series = {stage: points for stage, points in series.items() if points}
        values = {value for points in series.values() for _, value in points if isfinite(value)}
        if (term in FIRST and values) or (len(values) > 1 and not _said(series, shown.values())):
            shown[term] = series
    return [_panel(term, series) for term, series in shown.items()]


def _terms(rows: list[dict[str, float]]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row)
    logged = [key.split("/", 1)[1] for key in keys if key.startswith(("train/", "val/"))]
    others = sorted({*logged} - {*FIRST, *LAST})
    return [term for term in (*FIRST, *others, *LAST) if term in logged]


def _said(series: dict[str, list[Point]], others: Iterable[dict[str, list[Point]]]) -> bool:
    """Whether another term has these values or their negatives, as the loss may have the ELBO's."""
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


def _series(rows: list[dict[str, float]], key: str) -> list[Point]:
    placed = [row for row in rows if key in row and isfinite(row.get("step", math.nan))]
    return [(row["step"], row[key]) for row in placed]


def _panel(term: str, series: dict[str, list[Point]]) -> Panel:
    steps = [step for points in series.values() for step, _ in points]
    x = Axis(0.0, max(*steps, 1.0), FRAME.left, FRAME.right)
    y, cut = _vertical(series, LATER * x.high)
    title, unit, _ = METRICS.get(
        term, (NAMES.get(term, term.replace("_", " ")), NATS_PER_IMAGE, "")
    )
    curves = [_curve(stage, points, x, y) for stage, points in series.items()]
    return Panel(term, title, UNITS.get(term, unit), curves, x.ticks(), y.ticks(), cut)


def _vertical(series: dict[str, list[Point]], after: float) -> tuple[Axis, bool]:
    """The axis, and whether it leaves out first steps that would leave the rest no room."""
    points = [point for each in series.values() for point in each if isfinite(point[1])]
    whole = around([value for _, value in points], FRAME.bottom, FRAME.top)
    later = [value for step, value in points if step >= after]
    axis = around(later, FRAME.bottom, FRAME.top) if later else whole
    cut = whole.high - whole.low > CROWDED * (axis.high - axis.low)
    return axis if cut else whole, cut


def _curve(stage: str, points: list[Point], x: Axis, y: Axis) -> Curve:
    parts = list(_unbroken(thinned(points)))
    placed = [[(x.at(step), y.at(value)) for step, value in part] for part in parts]
    d = " ".join(f"M{'L'.join(f'{across} {down}' for across, down in part)}h0" for part in placed)
    read = [
        (step, format_number(value), *place)
        for part, places in zip(parts, placed, strict=True)
        for (step, value), place in zip(part, places, strict=True)
    ]
    return Curve(stage, d, read, format_number(points[-1][1]))


def thinned(points: list[Point], most: int = POINTS) -> list[Point]:
    """The smallest and the largest of each stretch, in their order: every spike stays."""
    if len(points) <= most:
        return points
    size = math.ceil(2 * len(points) / most)
    kept = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        numbers = [point for point in part if isfinite(point[1])]
        if len(numbers) < len(part):
            kept.append((part[0][0], math.nan))
        if numbers:
            ends = {
                min(numbers, key=lambda point: point[1]),
                max(numbers, key=lambda point: point[1]),
            }
            kept += sorted(ends)
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _unbroken(points: Iterable[Point]) -> Iterator[list[Point]]:
    """The stretches between values that are not finite."""
    part: list[Point] = []
    for point in points:
        if isfinite(point[1]):
            part.append(point)
        elif part:
            yield part
            part = []
    if part:
        yield part
