"""From values to places on a drawing, and the round numbers to write beside them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vaelab.report.numbers import format_number, rounded

ORDERED = 8  # values that are spread evenly; more of them lie where they are


class Tick(NamedTuple):
    at: float
    label: str


class Frame(NamedTuple):
    """Where the axes are of a drawing of this size."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, count: int = 5) -> list[Tick]:
        """About `count` round values."""
        step = nice((self.high - self.low) / count)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [Tick(self.at(step * n), multiple(n, step)) for n in range(first, last + 1)]


def around(values: Iterable[float], start: float, end: float, margin: float = 0.06) -> Axis:
    """An axis with room for all values, which may be one and the same."""
    found = list(values)
    low, high = min(found), max(found)
    room = margin * (high - low) if high > low else 0.05 * abs(high) or 1.0
    return Axis(low - room, high + room, start, end)


def nice(step: float) -> float:
    """The smallest of 1, 2, 5, 10 times a power of ten that is not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999 * step)


def multiple(n: int, step: float) -> str:
    """n times a `nice` step in words."""
    return rounded(n * step, max(0, -math.floor(math.log10(step) + 1e-9)))


def places(values: Sequence[str], start: float, end: float) -> tuple[dict[str, float], list[Tick]]:
    """Where each value of a choice lies, and what to write beside the line.

    Numbers lie in their order; many of them in proportion, by their logarithms if they span much.
    """
    distinct = sorted(set(values), key=in_order)
    numbers = [_number(value) for value in distinct]
    if len(distinct) > ORDERED and all(number is not None for number in numbers):
        return _spread([number for number in numbers if number is not None], distinct, start, end)
    gap = (end - start) / max(1, len(distinct) - 1)
    one = (start + end) / 2
    at = {
        value: round(start + n * gap, 1) if len(distinct) > 1 else one
        for n, value in enumerate(distinct)
    }
    return at, [Tick(place, value) for value, place in at.items()]


def _spread(
    numbers: list[float], values: list[str], start: float, end: float
) -> tuple[dict[str, float], list[Tick]]:
    logarithmic = numbers[0] > 0 and numbers[-1] > 30 * numbers[0]
    scaled = [math.log10(number) if logarithmic else number for number in numbers]
    axis = around(scaled, start, end, margin=0.0)
    at = {value: axis.at(number) for value, number in zip(values, scaled, strict=True)}
    if logarithmic:
        picked = (values[0], values[len(values) // 2], values[-1])
        return at, [Tick(at[value], format_number(_number(value), 2)) for value in picked]
    return at, axis.ticks()


def in_order(value: str) -> tuple[bool, float, str]:
    """The key that sorts values of a choice: numbers by their size, then words."""
    number = _number(value)
    return number is None, number or 0.0, value


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
