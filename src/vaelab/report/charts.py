"""What a group of jobs looks like: rate against distortion, and choices as parallel coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vaelab.report.axis import Axis, Frame, Tick, around, in_order, multiple, nice, places
from vaelab.report.jobs import SEED, Job, varied
from vaelab.report.numbers import format_number

FRAME = Frame(480, 340, 58, 468, 12, 300)
COLOURS = 7
APART = 128  # between two parallel axes, at least
EDGE = 70  # beside the first and the last
HIGHEST = 46  # of what lies on them


class ChartLine(NamedTuple):
    d: str
    label: str
    x: float
    y: float


class ChartPoint(NamedTuple):
    job: str
    x: float
    y: float
    colour: int
    title: str


@dataclass(frozen=True)
class Rate:
    """KL against reconstruction, with lines of one ELBO."""

    x: list[Tick]
    y: list[Tick]
    lines: list[ChartLine]
    points: list[ChartPoint]
    key: str | None  # the choice that the colours are of
    legend: list[str]
    frame: Frame = FRAME


def rate(members: Sequence[Job]) -> Rate | None:
    """None where fewer than two jobs have both numbers."""
    shown = [job for job in members if {"kl", "reconstruction"} <= job.values.keys()]
    if len(shown) < 2:
        return None
    x = around([job.values["kl"] for job in shown], FRAME.left, FRAME.right, margin=0.12)
    distortion = [job.values["reconstruction"] for job in shown]
    y = around(distortion, FRAME.bottom, FRAME.top, margin=0.12)
    keys = varied(members)
    key = next((key for key in keys if key != SEED and _few(key, members)), None)
    legend = sorted({job.run.choices.get(key, "") for job in members}, key=in_order) if key else []
    points = [
        ChartPoint(
            job.name,
            x.at(job.values["kl"]),
            y.at(job.values["reconstruction"]),
            1 + legend.index(job.run.choices.get(key, "")) if key else 1,
            _words(job, keys),
        )
        for job in shown
    ]
    return Rate(x.ticks(), y.ticks(), list(_lines(x, y)), points, key, legend)


def _words(job: Job, keys: Sequence[str]) -> str:
    shown = {"KL": "kl", "reconstruction": "reconstruction", "ELBO": "elbo"}
    numbers = ", ".join(
        f"{title} {format_number(job.values.get(key))}" for title, key in shown.items()
    )
    return f"{job.said(keys)}\n{numbers}"


def _few(key: str, members: Sequence[Job]) -> bool:
    return len({job.run.choices.get(key) for job in members}) <= COLOURS


def _lines(x: Axis, y: Axis) -> list[ChartLine]:
    """Where KL + reconstruction is round, cut at the frame."""
    low, high = x.low + y.low, x.high + y.high
    step = nice((high - low) / 6)
    found = []
    for n in range(int(low // step) + 1, int(high // step) + 1):
        total = n * step
        first, last = max(x.low, total - y.high), min(x.high, total - y.low)
        ends = [(x.at(kl), y.at(total - kl)) for kl in (first, last)]
        if ends[1][0] - ends[0][0] > 30:
            d = "M{} {}L{} {}".format(*ends[0], *ends[1])
            found.append(ChartLine(d, f"ELBO {multiple(-n, step)}", *ends[1]))
    return found


class Coordinate(NamedTuple):
    """One of the parallel axes; `key` is the choice, or what jobs are ranked by."""

    key: str
    x: float
    ticks: list[Tick]
    choice: bool


class Track(NamedTuple):
    """A job's way through the axes; the better, the stronger."""

    job: str
    d: str
    strength: float
    title: str


@dataclass(frozen=True)
class Parallel:
    width: float
    axes: list[Coordinate]
    tracks: list[Track]
    frame: Frame = FRAME


def parallel(members: Sequence[Job], monitor: str) -> Parallel | None:
    """None where nothing varies among the jobs that have a value."""
    shown, keys = [job for job in members if "val" in job.values], varied(members)
    if len(shown) < 2 or not keys:
        return None
    width = max(FRAME.width, 2 * EDGE + len(keys) * APART)
    apart = (width - 2 * EDGE) / len(keys)
    columns = [_choice(shown, key, round(EDGE + n * apart, 1)) for n, key in enumerate(keys)]
    columns.append(_score(shown, monitor, width - EDGE))
    axes = [axis for axis, _ in columns]
    ways = zip(*(places for _, places in columns), strict=True)
    strengths = _strengths([job.values["val"] for job in shown])
    tracks = [
        Track(
            job.name,
            "M" + "L".join(f"{axis.x} {y}" for axis, y in zip(axes, way, strict=True)),
            strength,
            f"{job.said(keys)}\n{monitor} {format_number(job.values['val'])}",
        )
        for job, way, strength in zip(shown, ways, strengths, strict=True)
    ]
    return Parallel(width, axes, tracks[::-1])


def _choice(jobs: Sequence[Job], key: str, x: float) -> tuple[Coordinate, list[float]]:
    """The axis of a choice, and where each job lies on it."""
    values = [job.run.choices.get(key, "") for job in jobs]
    at, ticks = places(values, FRAME.bottom, HIGHEST)
    return Coordinate(key, x, ticks, True), [at[value] for value in values]


def _score(jobs: Sequence[Job], monitor: str, x: float) -> tuple[Coordinate, list[float]]:
    axis = around([job.values["val"] for job in jobs], FRAME.bottom, HIGHEST)
    where = [axis.at(job.values["val"]) for job in jobs]
    return Coordinate(monitor, x, axis.ticks(), False), where


def _strengths(scores: Sequence[float]) -> list[float]:
    """From a quarter for the worst to 1 for the best."""
    low, span = min(scores), max(scores) - min(scores)
    return [round(0.25 + 0.75 * ((score - low) / span if span else 1.0), 2) for score in scores]
