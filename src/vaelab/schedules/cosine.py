"""Cosine annealing of the learning rate to 0: `schedule=cosine`.

Reference: SGDR: Stochastic Gradient Descent with Warm Restarts (Loshchilov and Hutter, 2017),
equation 5 without restarts, arXiv:1608.03983
"""

import math

from vaelab.schedules.base import Schedule


class Cosine(Schedule):
    """factor = (1 + cos(pi step / total)) / 2."""

    def factor(self, step: int, total: float) -> float:
        return (1 + math.cos(math.pi * min(step / total, 1.0))) / 2
