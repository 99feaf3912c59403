"""Up and down once: `schedule=one_cycle`.

Reference: Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates
(Smith and Topin, 2019), arXiv:1708.07120
"""

import math

from vaelab.schedules.base import Schedule


class OneCycle(Schedule):
    """A half cosine from `start` up to 1, and one down to `end`.

    Arguments:
        rise: The fraction of all steps that goes up.
        start, end: The first and the last factor.
    """

    def __init__(self, rise: float = 0.3, start: float = 0.04, end: float = 0.0001):
        if not 0 < rise < 1:
            raise ValueError(f"schedule.rise={rise}: it is a fraction of the steps, inside (0, 1)")
        self.rise = rise
        self.start = start
        self.end = end

    def factor(self, step: int, total: float) -> float:
        time = min(step / total, 1.0)
        if time < self.rise:
            return _half_cosine(self.start, 1.0, time / self.rise)
        return _half_cosine(1.0, self.end, (time - self.rise) / (1 - self.rise))


def _half_cosine(first: float, last: float, time: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * time)) / 2
