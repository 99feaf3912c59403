"""Charts of comparable jobs: rate against distortion, and parallel coordinates of the settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vaelab.report.axis import (
    Axis,
    Frame,
    Tick,
    choose_round_step,
    format_multiple,
    make_axis,
    make_sort_key,
    place_values,
)
from vaelab.report.jobs import SEED, SweepJob, find_varied_keys
from vaelab.report.numbers import format_number
from vaelab.runtime.metric_names import METRICS

FRAME = Frame(480, 340, 58, 468, 12, 300)
MAX_COLOURS = 7
MIN_AXIS_DISTANCE = 128  # pixels between two parallel axes
AXIS_MARGIN = 70  # pixels beside the first and the last parallel axis
AXIS_TOP = 46  # pixels above the parallel axes
MIN_LINE_WIDTH = 30  # pixels; shorter lines of equal ELBO have no room for a label


class ChartLine(NamedTuple):
    """A line of equal ELBO.

    Attributes:
        d: The path, in the syntax of SVG's `d` attribute.
        x, y: Where the label is.
    """

    d: str
    label: str
    x: float
    y: float


class ChartPoint(NamedTuple):
    """A job in the rate-distortion chart.

    Attributes:
        colour: From 1 to MAX_COLOURS.
        title: The tooltip.
    """

    job: str
    x: float
    y: float
    colour: int
    title: str


@dataclass(frozen=True)
class RateDistortionChart:
    """The KL and the reconstruction term of jobs, with lines of equal ELBO.

    Attributes:
        x, y: The ticks of both axes.
        key: The setting that colours the points, None if all have one colour.
        legend: The values of that setting, in the order of the colours.
    """

    x: list[Tick]
    y: list[Tick]
    lines: list[ChartLine]
    points: list[ChartPoint]
    key: str | None
    legend: list[str]
    frame: Frame = FRAME


def make_rate_distortion_chart(jobs: Sequence[SweepJob]) -> RateDistortionChart | None:
    """Return the chart of jobs of one group, None if fewer than two have both numbers."""
    plotted = [job for job in jobs if {"kl", "reconstruction"} <= job.values.keys()]
    if len(plotted) < 2:
        return None
    rates = [job.values["kl"] for job in plotted]
    distortions = [job.values["reconstruction"] for job in plotted]
    x = make_axis(rates, FRAME.left, FRAME.right, margin=0.12)
    y = make_axis(distortions, FRAME.bottom, FRAME.top, margin=0.12)
    keys = find_varied_keys(jobs)
    key = next((key for key in keys if key != SEED and _has_few_values(key, jobs)), None)
    legend = (
        sorted({job.run.choices.get(key, "") for job in jobs}, key=make_sort_key) if key else []
    )
    points = [
        ChartPoint(
            job.name,
            x.locate(job.values["kl"]),
            y.locate(job.values["reconstruction"]),
            1 + legend.index(job.run.choices.get(key, "")) if key else 1,
            _describe_point(job, keys),
        )
        for job in plotted
    ]
    lines = _make_elbo_lines(x, y)
    return RateDistortionChart(x.make_ticks(), y.make_ticks(), lines, points, key, legend)


def _describe_point(job: SweepJob, keys: Sequence[str]) -> str:
    numbers = ", ".join(
        f"{METRICS[key].name} {format_number(job.values.get(key))}"
        for key in ("kl", "reconstruction", "elbo")
    )
    return f"{job.describe(keys)}\n{numbers}"


def _has_few_values(key: str, jobs: Sequence[SweepJob]) -> bool:
    return len({job.run.choices.get(key) for job in jobs}) <= MAX_COLOURS


def _make_elbo_lines(x: Axis, y: Axis) -> list[ChartLine]:
    """Return the lines KL + reconstruction = -ELBO of round ELBOs, clipped to the frame."""
    low, high = x.low + y.low, x.high + y.high
    step = choose_round_step((high - low) / 6)
    lines = []
    for n in range(int(low // step) + 1, int(high // step) + 1):
        total = n * step
        first, last = max(x.low, total - y.high), min(x.high, total - y.low)
        ends = [(x.locate(kl), y.locate(total - kl)) for kl in (first, last)]
        if ends[1][0] - ends[0][0] > MIN_LINE_WIDTH:
            d = "M{} {}L{} {}".format(*ends[0], *ends[1])
            lines.append(ChartLine(d, f"ELBO {format_multiple(-n, step)}", *ends[1]))
    return lines


class ParallelAxis(NamedTuple):
    """One of the parallel axes.

    Attributes:
        key: The setting, or the metric by which jobs are ranked.
        is_choice: True for a setting, False for the metric.
    """

    key: str
    x: float
    ticks: list[Tick]
    is_choice: bool


class JobLine(NamedTuple):
    """The line of a job across the parallel axes.

    Attributes:
        d: The path, in the syntax of SVG's `d` attribute.
        strength: The opacity, from 0.25 for the worst job to 1 for the best.
        title: The tooltip.
    """

    job: str
    d: str
    strength: float
    title: str


@dataclass(frozen=True)
class ParallelCoordinates:
    """Parallel axes for the settings and for the metric, and a line for each job."""

    width: float
    axes: list[ParallelAxis]
    lines: list[JobLine]
    frame: Frame = FRAME


def make_parallel_coordinates(jobs: Sequence[SweepJob], monitor: str) -> ParallelCoordinates | None:
    """Return the parallel coordinates of jobs of one group.

    Arguments:
        monitor: The name of the metric by which the jobs are ranked.

    Returns:
        None if fewer than two jobs have the metric, or if no setting differs.
    """
    plotted, keys = [job for job in jobs if "val" in job.values], find_varied_keys(jobs)
    if len(plotted) < 2 or not keys:
        return None
    width = max(FRAME.width, 2 * AXIS_MARGIN + len(keys) * MIN_AXIS_DISTANCE)
    distance = (width - 2 * AXIS_MARGIN) / len(keys)
    columns = [
        _make_choice_axis(plotted, key, round(AXIS_MARGIN + n * distance, 1))
        for n, key in enumerate(keys)
    ]
    columns.append(_make_score_axis(plotted, monitor, width - AXIS_MARGIN))
    axes = [axis for axis, _ in columns]
    positions = zip(*(position for _, position in columns), strict=True)
    strengths = _compute_strengths([job.values["val"] for job in plotted])
    lines = [
        JobLine(
            job.name,
            "M" + "L".join(f"{axis.x} {y}" for axis, y in zip(axes, ys, strict=True)),
            strength,
            f"{job.describe(keys)}\n{monitor} {format_number(job.values['val'])}",
        )
        for job, ys, strength in zip(plotted, positions, strengths, strict=True)
    ]
    return ParallelCoordinates(width, axes, lines[::-1])


def _make_choice_axis(
    jobs: Sequence[SweepJob], key: str, x: float
) -> tuple[ParallelAxis, list[float]]:
    """Return the axis of a setting, and the position of each job on it."""
    values = [job.run.choices.get(key, "") for job in jobs]
    positions, ticks = place_values(values, FRAME.bottom, AXIS_TOP)
    return ParallelAxis(key, x, ticks, True), [positions[value] for value in values]


def _make_score_axis(
    jobs: Sequence[SweepJob], monitor: str, x: float
) -> tuple[ParallelAxis, list[float]]:
    """Return the axis of the metric, and the position of each job on it."""
    axis = make_axis([job.values["val"] for job in jobs], FRAME.bottom, AXIS_TOP)
    positions = [axis.locate(job.values["val"]) for job in jobs]
    return ParallelAxis(monitor, x, axis.make_ticks(), False), positions


def _compute_strengths(scores: Sequence[float]) -> list[float]:
    """Scale scores linearly, from 0.25 for the lowest to 1 for the highest."""
    low, span = min(scores), max(scores) - min(scores)
    return [round(0.25 + 0.75 * ((score - low) / span if span else 1.0), 2) for score in scores]
