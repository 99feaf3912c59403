"""Cyclical weight: `kl=cyclical`.

Reference: Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing
(Fu et al., 2019), equations 6 and 7, arXiv:1903.10145
"""

from vaelab.kl.base import KLWeighting, check_beta, check_period


class Cyclical(KLWeighting):
    """Rises from 0 to beta in the first part of every period, and stays there for the rest.

    weight(step) = beta * min(1, tau / rise), with tau = (step mod period) / period.

    Arguments:
        period: Optimizer steps of one cycle.
        rise: The fraction of a cycle that it takes to reach beta (R in the paper).
    """

    def __init__(self, period: int = 1000, rise: float = 0.5, beta: float = 1.0):
        super().__init__()
        check_period(period)
        check_beta(beta)
        if not 0 < rise <= 1:
            raise ValueError(f"kl.rise={rise}: it is a fraction of the period, above 0, at most 1")
        self.period = period
        self.rise = rise
        self.beta = beta

    def weight(self, step: int) -> float:
        return self.beta * min(1.0, step % self.period / self.period / self.rise)
