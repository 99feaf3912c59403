"""Axes of the charts of a report: positions of values in a drawing, and ticks at round numbers."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vaelab.report.numbers import format_number, format_rounded

MAX_EVENLY_SPACED = 8  # distinct values; more numbers are placed in proportion


class Tick(NamedTuple):
    """A position on an axis and its label."""

    position: float
    label: str


class Frame(NamedTuple):
    """The size of a drawing, and the edges of the frame of its axes, in pixels."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Axis:
    """A linear axis with values from `low` to `high` at pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def locate(self, value: float) -> float:
        """Return the position of a value, rounded to 0.1 pixels."""
        fraction = (value - self.low) / (self.high - self.low)
        return round(self.start + fraction * (self.end - self.start), 1)

    def make_ticks(self, count: int = 5) -> list[Tick]:
        """Return about `count` ticks at round values."""
        step = choose_round_step((self.high - self.low) / count)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [
            Tick(self.locate(step * n), format_multiple(n, step)) for n in range(first, last + 1)
        ]


def make_axis(values: Iterable[float], start: float, end: float, margin: float = 0.06) -> Axis:
    """Return an axis that contains all values, which may all be equal.

    Arguments:
        start, end: The pixels of the lower and of the upper end.
        margin: Space at both ends, as a fraction of the range of the values.
    """
    values = list(values)
    low, high = min(values), max(values)
    space = margin * (high - low) if high > low else 0.05 * abs(high) or 1.0
    return Axis(low - space, high + space, start, end)


def choose_round_step(step: float) -> float:
    """Return the smallest of 1, 2, 5, 10 times a power of ten that is not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999 * step)


def format_multiple(n: int, step: float) -> str:
    """Format n times a round step, with the decimals that the step needs."""
    return format_rounded(n * step, max(0, -math.floor(math.log10(step) + 1e-9)))


def place_values(
    values: Sequence[str], start: float, end: float
) -> tuple[dict[str, float], list[Tick]]:
    """Place the values of a setting, which may be numbers or words, on an axis.

    Up to MAX_EVENLY_SPACED distinct values are evenly spaced in ascending order. More numbers are
    placed in proportion, or on a logarithmic scale if they span a factor of more than 30.

    Returns:
        The position of each value, and the ticks.
    """
    distinct = sorted(set(values), key=make_sort_key)
    numbers = [_parse_number(value) for value in distinct]
    if len(distinct) > MAX_EVENLY_SPACED and all(number is not None for number in numbers):
        finite = [number for number in numbers if number is not None]
        return _place_numbers(finite, distinct, start, end)
    gap = (end - start) / max(1, len(distinct) - 1)
    middle = (start + end) / 2
    positions = {
        value: round(start + n * gap, 1) if len(distinct) > 1 else middle
        for n, value in enumerate(distinct)
    }
    return positions, [Tick(position, value) for value, position in positions.items()]


def _place_numbers(
    numbers: list[float], values: list[str], start: float, end: float
) -> tuple[dict[str, float], list[Tick]]:
    is_logarithmic = numbers[0] > 0 and numbers[-1] > 30 * numbers[0]
    scaled = [math.log10(number) if is_logarithmic else number for number in numbers]
    axis = make_axis(scaled, start, end, margin=0.0)
    positions = {value: axis.locate(number) for value, number in zip(values, scaled, strict=True)}
    if is_logarithmic:
        labelled = (values[0], values[len(values) // 2], values[-1])
        ticks = [Tick(positions[text], format_number(_parse_number(text), 2)) for text in labelled]
        return positions, ticks
    return positions, axis.make_ticks()


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
