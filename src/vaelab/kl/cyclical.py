"""A weight of the KL that rises anew in every period: `kl=cyclical`.

Reference: Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing
(Fu et al., 2019), equations 6 and 7, arXiv:1903.10145
"""

from vaelab.kl.base import KLWeighting, check_beta, check_period
from vaelab.runtime.errors import UserError


class Cyclical(KLWeighting):
    """A linear rise from 0 to beta in the first part of every period, then beta until its end.

        weight(step) = beta * min(1, tau / rise),    tau = (step mod period) / period

    Arguments:
        period: The number of optimizer steps in a period.
        rise: The fraction of a period until the weight is beta, R in the paper.
        beta: The largest weight.

    Raises:
        UserError: If a setting is out of range.
    """

    def __init__(self, period: int = 1000, rise: float = 0.5, beta: float = 1.0):
        super().__init__()
        check_period(period)
        check_beta(beta)
        if not 0 < rise <= 1:
            raise UserError(f"kl.rise={rise}: it must be a fraction of the period, in (0, 1]")
        self.period = period
        self.final_step = period - 1  # a step with the largest weight
        self.rise = rise
        self.beta = beta

    def weight(self, step: int) -> float:
        return self.beta * min(1.0, step % self.period / self.period / self.rise)
