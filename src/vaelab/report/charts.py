"""Charts of comparable jobs: rate against distortion, and parallel coordinates of the settings."""

import math
from collections.abc import Sequence
from typing import Any

from vaelab.report.chart_parts import (
    JOB_PARAMETERS,
    LIT,
    SHOWN,
    ZOOM,
    Spec,
    compute_range,
    list_round_values,
    make_chart,
    make_colour,
    make_position,
    make_tooltip,
)
from vaelab.report.jobs import SEED, SweepJob, find_varied_keys
from vaelab.report.numbers import format_number, format_rounded
from vaelab.runtime.metric_names import METRICS, get_metric

MAX_COLOURS = 7
MAX_EVENLY_SPACED = 8  # distinct values; more numbers are placed in proportion
HEIGHT = 300  # pixels
NUMBERS = {key: str(METRICS[key]) for key in ("elbo", "reconstruction", "kl")}


def make_rate_distortion_chart(jobs: Sequence[SweepJob]) -> Spec | None:
    """Return the chart of jobs of one group, None if fewer than two have both numbers.

    Lines of equal ELBO cross it: KL + reconstruction = -ELBO.
    """
    plotted = [job for job in jobs if {"kl", "reconstruction"} <= job.values.keys()]
    if len(plotted) < 2:
        return None
    keys = find_varied_keys(jobs)
    key = next((key for key in keys if key != SEED and _has_few_values(key, jobs)), None)
    choices = [job.run.choices.get(key, "") if key else "" for job in plotted]
    x, y = (
        compute_range([job.values[name] for job in plotted], margin=0.12)
        for name in ("kl", "reconstruction")
    )
    rows = [
        {
            **_describe_job(job, keys),
            "x": job.values["kl"],
            "y": job.values["reconstruction"],
            "choice": choice,
            **{name: format_number(job.values.get(name)) for name in NUMBERS},
        }
        for job, choice in zip(plotted, choices, strict=True)
    ]
    distinct = sorted(set(choices), key=make_sort_key)
    colours = {value: f"c{number}" for number, value in enumerate(distinct, 1)}
    place = {
        "x": make_position("x", f"{METRICS['kl'].name}, nats", x),
        "y": make_position("y", f"{METRICS['reconstruction'].name}, nats", y),
    }
    points = {
        "data": {"values": rows},
        "params": [ZOOM],
        "mark": {"type": "point", "filled": True, "size": 110, "strokeWidth": 1.5, "opacity": 1},
        "encoding": {
            "color": make_colour("choice", colours, key),
            "stroke": {
                "condition": {"test": LIT, "value": "var(--ink)"},
                "value": "var(--paper)",
            },
            "opacity": {"condition": {"test": SHOWN, "value": 1}, "value": 0.12},
            "tooltip": make_tooltip(job="job", settings="settings", **NUMBERS),
        },
    }
    layers = [*_make_elbo_lines(x, y), points]
    description = "KL against reconstruction of each job, with lines of equal ELBO"
    return make_chart(layers, HEIGHT, description, encoding=place, params=JOB_PARAMETERS)


def _has_few_values(key: str, jobs: Sequence[SweepJob]) -> bool:
    return len({job.run.choices.get(key) for job in jobs}) <= MAX_COLOURS


def _describe_job(job: SweepJob, keys: Sequence[str]) -> dict[str, str]:
    return {"job": job.name, "settings": job.describe(keys).partition(": ")[2]}


def _make_elbo_lines(x: tuple[float, float], y: tuple[float, float]) -> list[Spec]:
    """Return the layers of the lines of equal, round ELBO, and of their labels."""
    width = x[1] - x[0]
    totals, decimals = list_round_values(x[0] + y[0], x[1] + y[1], 6)
    ends = [
        {"line": n, "x": kl, "y": total - kl}
        for n, total in enumerate(totals)
        for kl in (x[0] - 2 * width, x[1] + 2 * width)
    ]
    labels = [
        {"x": kl, "y": total - kl, "label": f"ELBO {format_rounded(-total, decimals)}"}
        for total in totals
        if (kl := min(x[1], total - y[0])) - max(x[0], total - y[1]) > 0.15 * width
    ]
    lines = {
        "data": {"values": ends},
        "mark": {"type": "line", "clip": True, "strokeDash": [3, 4], "opacity": 0.55}
        | {"strokeWidth": 1, "color": "var(--quiet)", "tooltip": None},
        "encoding": {"detail": {"field": "line"}},
    }
    texts = {
        "data": {"values": labels},
        "mark": {"type": "text", "clip": True, "align": "right", "baseline": "bottom", "dx": -4}
        | {"fontSize": 10, "color": "var(--quiet)", "stroke": "var(--paper)", "strokeWidth": 3},
        "encoding": {"text": {"field": "label", "type": "nominal"}},
    }
    return [lines, texts]


def make_parallel_coordinates(jobs: Sequence[SweepJob], monitor: str) -> Spec | None:
    """Return the parallel coordinates of jobs of one group.

    Arguments:
        monitor: The key of the metric by which the jobs are ranked.

    Returns:
        None if fewer than two jobs have the metric, or if no setting differs.
    """
    plotted, keys = [job for job in jobs if "val" in job.values], find_varied_keys(jobs)
    if len(plotted) < 2 or not keys:
        return None
    scores = [job.values["val"] for job in plotted]
    metric = get_metric(monitor)
    titles = [*keys, f"{metric.name} {metric.arrow}"]
    low, high = compute_range(scores)
    ticks, decimals = list_round_values(low, high)
    labels: list[dict[str, Any]] = [
        {
            "axis": titles[-1],
            "y": (tick - low) / (high - low),
            "label": format_rounded(tick, decimals),
        }
        for tick in ticks
    ]
    rows: list[dict[str, Any]] = []
    strengths = _compute_strengths(scores)
    lines = [
        _describe_job(job, keys) | {"score": format_number(score), "strength": strength}
        for job, score, strength in zip(plotted, scores, strengths, strict=True)
    ]
    for number, key in enumerate(keys):
        values = [job.run.choices.get(key, "") for job in plotted]
        places = place_values(values)
        rows += [
            {**line, "axis": key, "y": places[value]}
            for line, value in zip(lines, values, strict=True)
        ]
        labels += [
            {"axis": key, "y": y, "label": value, "choice": f"{number}:{value}"}
            for value, y in _choose_labelled(places)
        ]
    rows += [
        {**line, "axis": titles[-1], "y": (score - low) / (high - low)}
        for line, score in zip(lines, scores, strict=True)
    ]
    axis = {"orient": "top", "domain": False, "ticks": False, "grid": True, "labelAngle": 0}
    axis |= {
        "gridColor": "var(--quiet)",
        "labelColor": "var(--ink)",
        "labelLimit": 120,
        "labelPadding": 12,
    }
    place = {
        "x": {"field": "axis", "type": "nominal", "title": None, "axis": axis}
        | {"scale": {"domain": titles, "type": "point", "padding": 0.4}},
        "y": {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1]}},
    }
    line = {
        "data": {"values": rows},
        "encoding": {
            "detail": {"field": "job"},
            "tooltip": make_tooltip(job="job", settings="settings", score=str(metric)),
        },
        "layer": [
            {
                "mark": {"type": "line", "strokeJoin": "round"},
                "encoding": {
                    "color": _if_lit("var(--c4)", "var(--c1)"),
                    "strokeWidth": _if_lit(3, 1.8),
                    "opacity": {
                        "condition": [
                            {"test": LIT, "value": 1},
                            {
                                "test": SHOWN,
                                "field": "strength",
                                "type": "quantitative",
                                "scale": None,
                            },
                        ],
                        "value": 0.06,
                    },
                },
            },
            {"mark": {"type": "line", "strokeWidth": 12, "opacity": 0}},  # easier to point at
        ],
    }
    text = {
        "data": {"values": labels},
        "mark": {"type": "text", "align": "left", "dx": 7, "limit": 110, "strokeWidth": 3}
        | {"stroke": "var(--paper)", "tooltip": {"expr": "datum.label"}},
        "encoding": {
            "text": {"field": "label", "type": "nominal"},
            "color": {
                "condition": [
                    {"test": "indexof(chosen, datum.choice) >= 0", "value": "var(--c4)"},
                    {"test": "datum.choice", "value": "var(--ink)"},
                ],
                "value": "var(--quiet)",
            },
        },
    }
    description = "Parallel coordinates of the settings and the metric, with a line for each job"
    return make_chart([line, text], HEIGHT, description, encoding=place, params=JOB_PARAMETERS)


def _if_lit(value: Any, otherwise: Any) -> Spec:
    return {"condition": {"test": LIT, "value": value}, "value": otherwise}


def place_values(values: Sequence[str]) -> dict[str, float]:
    """Place the values of a setting, which may be numbers or words, between 0 and 1.

    Up to MAX_EVENLY_SPACED distinct values are evenly spaced in ascending order. More numbers are
    placed in proportion, or on a logarithmic scale if they span a factor of more than 30.
    """
    distinct = sorted(set(values), key=make_sort_key)
    numbers = [number for value in distinct if (number := _parse_number(value)) is not None]
    scale = [float(n) for n in range(len(distinct))]
    if len(distinct) > MAX_EVENLY_SPACED and len(numbers) == len(distinct):
        is_logarithmic = numbers[0] > 0 and numbers[-1] > 30 * numbers[0]
        scale = [math.log(number) for number in numbers] if is_logarithmic else numbers
    span = scale[-1] - scale[0]
    places = [(place - scale[0]) / span if span else 0.5 for place in scale]
    return dict(zip(distinct, places, strict=True))


def _choose_labelled(places: dict[str, float]) -> list[tuple[str, float]]:
    """Return the values that are labelled: all, or at most MAX_EVENLY_SPACED of many."""
    step = math.ceil(len(places) / MAX_EVENLY_SPACED)
    return list(places.items())[::step]


def make_sort_key(value: str) -> tuple[bool, float, str]:
    """Return the key that sorts the values of a setting: numbers by size, then words."""
    number = _parse_number(value)
    return number is None, number or 0.0, value


def _parse_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _compute_strengths(scores: Sequence[float]) -> list[float]:
    """Scale scores linearly, from 0.25 for the lowest to 1 for the highest."""
    low, span = min(scores), max(scores) - min(scores)
    return [round(0.25 + 0.75 * ((score - low) / span if span else 1.0), 2) for score in scores]
