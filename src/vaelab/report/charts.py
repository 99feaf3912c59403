"""Charts of comparable jobs: rate against distortion, and parallel coordinates of the settings."""

import math
from collections.abc import Sequence
from typing import Any

from vaelab.report.chart_parts import (
    JOB_PARAMETERS,
    LIT,
    SHOWN,
    ZOOM,
    Rows,
    Spec,
    choose,
    compute_range,
    list_round_values,
    make_chart,
    make_colour,
    make_layer,
    make_position,
    make_tooltip,
)
from vaelab.report.jobs import SEED, SweepJob, find_varied_keys
from vaelab.report.numbers import format_number, format_rounded
from vaelab.runtime.language import TO_ENGLISH, Translate
from vaelab.runtime.metric_names import get_metric

MAX_COLOURS = 7
MAX_EVENLY_SPACED = 8  # distinct values; more numbers are placed in proportion
HEIGHT = 300  # pixels
AXES = {"orient": "top", "domain": False, "ticks": False, "grid": True, "labelAngle": 0}
AXES |= {"gridColor": "var(--quiet)", "labelColor": "var(--ink)"}
AXES |= {"labelLimit": 120, "labelPadding": 20}
LABEL = {"field": "label", "type": "nominal"}
NUMBERS = ("elbo", "reconstruction", "kl")


def make_rate_distortion_chart(jobs: Sequence[SweepJob], t: Translate = TO_ENGLISH) -> Spec | None:
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
        _describe_job(job, keys, *NUMBERS)
        | {"x": job.values["kl"], "y": job.values["reconstruction"], "choice": choice}
        for job, choice in zip(plotted, choices, strict=True)
    ]
    distinct = sorted(set(choices), key=make_sort_key)
    colours = {value: f"c{number}" for number, value in enumerate(distinct, 1)}
    names = {name: get_metric(name, translate=t).name for name in NUMBERS}
    place = {
        "x": make_position("x", f"{names['kl']}, nats", x),
        "y": make_position("y", f"{names['reconstruction']}, nats", y),
    }
    look = {
        "color": make_colour("choice", colours, key),
        "stroke": choose(LIT, "var(--ink)", "var(--paper)"),
        "opacity": choose(SHOWN, 1, 0.12),
        "tooltip": make_tooltip(job=t("job"), settings=t("settings"), **names),
    }
    points = make_layer("point", rows, look, filled=True, size=110, strokeWidth=1.5, opacity=1)
    layers = [*_make_elbo_lines(x, y), points | {"params": [ZOOM]}]
    description = t("KL against reconstruction of each job, with lines of equal ELBO")
    return make_chart(layers, HEIGHT, description, encoding=place, params=JOB_PARAMETERS)


def _has_few_values(key: str, jobs: Sequence[SweepJob]) -> bool:
    return len({job.run.choices.get(key) for job in jobs}) <= MAX_COLOURS


def _describe_job(job: SweepJob, keys: Sequence[str], *numbers: str) -> dict[str, Any]:
    texts = {name: format_number(job.values.get(name)) for name in numbers}
    return {"job": job.name, "settings": job.describe(keys).partition(": ")[2], **texts}


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
    look = {"color": "var(--quiet)", "clip": True, "tooltip": None}
    dashes = {"strokeDash": [3, 4], "strokeWidth": 1, "opacity": 0.55}
    halo = {"stroke": "var(--paper)", "strokeWidth": 3, "fontSize": 10}
    corner = {"align": "right", "baseline": "bottom", "dx": -4}
    return [
        make_layer("line", ends, {"detail": {"field": "line"}}, **dashes, **look),
        make_layer("text", labels, {"text": LABEL}, **corner, **halo, **look),
    ]


def make_parallel_coordinates(
    jobs: Sequence[SweepJob], monitor: str, t: Translate = TO_ENGLISH
) -> Spec | None:
    """Return the parallel coordinates of jobs of one group.

    Arguments:
        monitor: The key of the metric by which the jobs are ranked.

    Returns:
        None if fewer than two jobs have the metric, or if no setting differs.
    """
    plotted, keys = [job for job in jobs if "val" in job.values], find_varied_keys(jobs)
    if len(plotted) < 2 or not keys:
        return None
    metric = get_metric(monitor, translate=t)
    title = f"{metric.name} {metric.arrow}"
    strengths = _compute_strengths([job.values["val"] for job in plotted])
    lines = [
        _describe_job(job, keys, "val") | {"strength": strength}
        for job, strength in zip(plotted, strengths, strict=True)
    ]
    rows, labels = _place_scores(plotted, title)
    rows = [{**line, **row} for line, row in zip(lines, rows, strict=True)]
    for number, key in enumerate(keys):
        values = [job.run.choices.get(key, "") for job in plotted]
        places = place_values(values)
        joined = zip(lines, values, strict=True)
        rows += [{**line, "axis": key, "y": places[value]} for line, value in joined]
        labels += [
            {"axis": key, "y": places[value], "label": value, "choice": f"{number}:{value}"}
            for value in list(places)[:: math.ceil(len(places) / MAX_EVENLY_SPACED)]
        ]
    axes = {"domain": [*keys, title], "type": "point", "padding": 0.4}
    place = {
        "x": {"field": "axis", "type": "nominal", "title": None, "axis": AXES, "scale": axes},
        "y": {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1]}},
    }
    tooltip = make_tooltip(job=t("job"), settings=t("settings"), val=str(metric))
    layers = [_make_job_lines(rows, tooltip), _make_value_labels(labels)]
    description = t("Parallel coordinates of the settings and the metric, with a line for each job")
    return make_chart(layers, HEIGHT, description, encoding=place, params=JOB_PARAMETERS)


def _place_scores(jobs: Sequence[SweepJob], title: str) -> tuple[Rows, Rows]:
    """Return the place of each job on the axis of the metric, and the labels of that axis."""
    low, high = compute_range(job.values["val"] for job in jobs)
    ticks, decimals = list_round_values(low, high)
    scores = [(job.values["val"], {}) for job in jobs]
    labelled = [(tick, {"label": format_rounded(tick, decimals)}) for tick in ticks]
    rows, labels = (
        [{"axis": title, "y": (value - low) / (high - low), **more} for value, more in pairs]
        for pairs in (scores, labelled)
    )
    return rows, labels


def _make_job_lines(rows: Rows, tooltip: list[Spec]) -> Spec:
    """Return the layer of the lines, with invisible wide ones that are easier to point at."""
    strength = {"test": SHOWN, "field": "strength", "type": "quantitative", "scale": None}
    look = {
        "color": choose(LIT, "var(--c4)", "var(--c1)"),
        "strokeWidth": choose(LIT, 3, 1.8),
        "opacity": {"condition": [{"test": LIT, "value": 1}, strength], "value": 0.06},
    }
    layers = [make_layer("line", None, look), make_layer("line", strokeWidth=12, opacity=0)]
    encoding = {"detail": {"field": "job"}, "tooltip": tooltip}
    return {"data": {"values": rows}, "encoding": encoding, "layer": layers}


def _make_value_labels(labels: Rows) -> Spec:
    """Return the layer of the labels of values, which can be chosen, and of the metric."""
    chosen = {"test": "indexof(chosen, datum.choice) >= 0", "value": "var(--c4)"}
    choice = {"test": "datum.choice", "value": "var(--ink)"}
    colour = {"condition": [chosen, choice], "value": "var(--quiet)"}
    corner = {"align": "left", "dx": 6, "dy": -7, "limit": 110, "tooltip": {"expr": "datum.label"}}
    halo = {"stroke": "var(--paper)", "strokeWidth": 3}
    return make_layer("text", labels, {"text": LABEL, "color": colour}, **corner, **halo)


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
