"""One cycle of a rising and a falling learning rate: `schedule=one_cycle`.

Reference: Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates
(Smith and Topin, 2019), arXiv:1708.07120
"""

import math

from vaelab.runtime.errors import UserError
from vaelab.schedules.base import Schedule


class OneCycle(Schedule):
    """The factor rises along a half cosine from `start` to 1, then falls along one to `end`.

    Arguments:
        rise: The fraction of all steps in which the factor rises.
        start: The first factor.
        end: The last factor.

    Raises:
        UserError: If `rise` is outside (0, 1).
    """

    def __init__(self, rise: float = 0.3, start: float = 0.04, end: float = 0.0001):
        if not 0 < rise < 1:
            raise UserError(f"schedule.rise={rise}: it must be a fraction of all steps, in (0, 1)")
        self.rise = rise
        self.start = start
        self.end = end

    def factor(self, step: int, total: float) -> float:
        time = min(step / total, 1.0)
        if time < self.rise:
            return _interpolate_cosine(self.start, 1.0, time / self.rise)
        return _interpolate_cosine(1.0, self.end, (time - self.rise) / (1 - self.rise))


def _interpolate_cosine(first: float, last: float, time: float) -> float:
    """Interpolate from `first` at time 0 to `last` at time 1 along a half cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * time)) / 2
