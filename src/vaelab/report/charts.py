"""What a group of jobs looks like: rate against distortion, and choices as parallel coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vaelab.report.axis import Axis, Tick, around, multiple, nice, places
from vaelab.report.jobs import SEED, Job, varied
from vaelab.report.numbers import tell

WIDTH, HEIGHT = 480, 340
LEFT, RIGHT, TOP, BOTTOM = 58, 468, 12, 300
COLOURS = 7
APART = 128  # between two parallel axes, at least
EDGE = 70  # beside the first and the last


class Line(NamedTuple):
    d: str
    label: str
    x: float
    y: float


class Point(NamedTuple):
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
    lines: list[Line]
    points: list[Point]
    key: str | None  # the choice that the colours are of
    legend: list[str]


def rate(members: Sequence[Job]) -> Rate | None:
    """None where fewer than two jobs have both numbers."""
    shown = [job for job in members if {"kl", "reconstruction"} <= job.values.keys()]
    if len(shown) < 2:
        return None
    x = around([job.values["kl"] for job in shown], LEFT, RIGHT, margin=0.12)
    y = around([job.values["reconstruction"] for job in shown], BOTTOM, TOP, margin=0.12)
    keys = varied(members)
    key = next((key for key in keys if key != SEED and _few(key, members)), None)
    legend = sorted({job.run.choices.get(key, "") for job in members}) if key else []
    points = [
        Point(
            job.name,
            x.at(job.values["kl"]),
            y.at(job.values["reconstruction"]),
            1 + legend.index(job.run.choices.get(key, "")) if key else 1,
            f"{job.said(keys)}\nKL {tell(job.values['kl'])}, reconstruction "
            f"{tell(job.values['reconstruction'])}, ELBO {tell(job.values.get('elbo'))}",
        )
        for job in shown
    ]
    return Rate(x.ticks(), y.ticks(), list(_lines(x, y)), points, key, legend)


def _few(key: str, members: Sequence[Job]) -> bool:
    return len({job.run.choices.get(key) for job in members}) <= COLOURS


def _lines(x: Axis, y: Axis) -> list[Line]:
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
            found.append(Line(d, f"ELBO {multiple(-n, step)}", *ends[1]))
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


def parallel(members: Sequence[Job], monitor: str) -> Parallel | None:
    """None where nothing varies among the jobs that have a value."""
    shown, keys = [job for job in members if "val" in job.values], varied(members)
    if len(shown) < 2 or not keys:
        return None
    width = max(WIDTH, 2 * EDGE + len(keys) * APART)
    apart = (width - 2 * EDGE) / len(keys)
    ways, axes = [[] for _ in shown], []
    for n, key in enumerate(keys):
        values = [job.run.choices.get(key, "") for job in shown]
        at, ticks = places(values, BOTTOM, 46)
        axes.append(Coordinate(key, round(EDGE + n * apart, 1), ticks, True))
        for way, value in zip(ways, values, strict=True):
            way.append((axes[-1].x, at[value]))
    scores = [job.values["val"] for job in shown]
    last = around(scores, BOTTOM, 46)
    axes.append(Coordinate(monitor, width - EDGE, last.ticks(), False))
    for way, score in zip(ways, scores, strict=True):
        way.append((axes[-1].x, last.at(score)))
    low, span = min(scores), max(scores) - min(scores)
    tracks = [
        Track(
            job.name,
            "M" + "L".join(f"{x} {y}" for x, y in way),
            round(0.25 + 0.75 * ((score - low) / span if span else 1.0), 2),
            f"{job.said(keys)}\n{monitor} {tell(score)}",
        )
        for job, way, score in zip(shown, ways, scores, strict=True)
    ]
    return Parallel(width, axes, tracks[::-1])
