"""Charts of one run: its training and validation curves, and the KL of each latent dimension."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from vaelab.report.chart_parts import (
    ZOOM,
    Spec,
    choose,
    compute_range,
    make_chart,
    make_colour,
    make_layer,
    make_position,
    make_tooltip,
)
from vaelab.report.numbers import format_number
from vaelab.runtime.language import TO_ENGLISH, Translate
from vaelab.runtime.metric_names import NATS_PER_IMAGE, Metric, get_metric

FIRST_TERMS = ("elbo", "reconstruction", "kl")
LAST_TERMS = ("kl_weight", "lr")
STAGES = {"train": "training", "val": "validation"}
MAX_POINTS = 300  # of a curve; more cannot be distinguished
MAX_DOTS = 40  # points of a curve whose points are marked
START_FRACTION = 0.1  # of the steps, at the start; they may lie outside the frame
MAX_RANGE_RATIO = 1.5  # the range of all values / the range without the start, at most
HEIGHT = 180  # pixels
NEAREST = {"type": "point", "nearest": True, "on": "pointermove", "clear": "pointerout"}

Point = tuple[float, float]  # step and value


@dataclass(frozen=True)
class CurvePanel:
    """The curves of one term.

    Attributes:
        last: The last value of each stage, "train" or "val", formatted.
        chart: The Vega-Lite specification of the chart.
    """

    metric: Metric
    last: dict[str, str]
    chart: Spec


def make_curve_panels(
    rows: list[dict[str, float]], shape: Any = None, translate: Translate = TO_ENGLISH
) -> list[CurvePanel]:
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
    return [_make_panel(term, series, shape, translate) for term, series in plotted.items()]


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


def _make_panel(term: str, series: dict[str, list[Point]], shape: Any, t: Translate) -> CurvePanel:
    metric = get_metric(term, NATS_PER_IMAGE, shape, t)
    stages = {stage: t(name) for stage, name in STAGES.items()}
    end = max(*(step for points in series.values() for step, _ in points), 1.0)
    domain, is_cut = _compute_domain(series, START_FRACTION * end)
    rows = [
        {
            "step": step,
            "value": value if isfinite(value) else None,
            "stage": stages[stage],
            "text": format_number(value),
        }
        for stage, points in series.items()
        for step, value in thin_points(points)
    ]
    hint = t("optimizer steps, the first ones outside the frame")
    title = hint if is_cut else t("optimizer steps")
    place = {
        "x": make_position("step", title, [0.0, end]),
        "y": make_position("value", None, domain),
        "color": make_colour("stage", {name: stage for stage, name in stages.items()}),
    }
    width = choose({"field": "stage", "equal": stages["val"]}, 1.8, 1.2)
    line = make_layer("line", None, {"strokeWidth": width}, clip=True) | {"params": [ZOOM]}
    few = [stages[stage] for stage, points in series.items() if len(points) <= MAX_DOTS]
    dots = make_layer("point", filled=True, size=14, clip=True, opacity=1)
    dots["transform"] = [{"filter": {"field": "stage", "oneOf": few}}]
    look = {
        "opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0},
        "tooltip": make_tooltip(step=t("step"), stage=t("images"), text=metric.name),
    }
    near = make_layer("point", None, look, filled=True, size=50, clip=True)
    near["params"] = [{"name": "near", "select": NEAREST}]
    description = t("{metric} by optimizer step", metric=metric.name)
    data = {"values": rows}
    chart = make_chart([line, dots, near], HEIGHT, description, encoding=place, data=data)
    last = {stage: format_number(points[-1][1]) for stage, points in series.items()}
    return CurvePanel(metric, last, chart)


def _compute_domain(
    series: dict[str, list[Point]], start: float
) -> tuple[tuple[float, float], bool]:
    """Return the vertical range, and True if it leaves out values of steps before `start`.

    It leaves them out if they would extend the range by more than MAX_RANGE_RATIO.
    """
    points = [point for part in series.values() for point in part if isfinite(point[1])]
    full = compute_range(value for _, value in points)
    later = [value for step, value in points if step >= start]
    shown = compute_range(later) if later else full
    is_cut = full[1] - full[0] > MAX_RANGE_RATIO * (shown[1] - shown[0])
    return (shown, True) if is_cut else (full, False)


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


def make_kl_chart(kl: Sequence[float | None] | None, t: Translate = TO_ENGLISH) -> Spec | None:
    """Return the bars of the KL of each latent dimension in descending order, None without KL."""
    numbered = [(value, n) for n, value in enumerate(kl or []) if value is not None]
    rows = [
        {"rank": rank, "kl": value, "dimension": n, "text": format_number(value)}
        for rank, (value, n) in enumerate(sorted(numbered, reverse=True), 1)
    ]
    if not rows:
        return None
    place = {
        "x": {"field": "rank", "type": "ordinal", "axis": None},
        "y": {"field": "kl", "type": "quantitative", "title": "nats"},
        "tooltip": make_tooltip(dimension=t("latent dimension"), text=t("KL in nats")),
    }
    bars = make_layer("bar", rows, cornerRadiusEnd=1)
    description = t("KL of each latent dimension in descending order")
    return make_chart([bars], 120, description, encoding=place)
