"""A linear warm-up of the weight of the KL: `kl=warmup`.

Reference: Ladder Variational Autoencoders (Sonderby et al., 2016), section 2.3, arXiv:1602.02282
"""

from vaelab.kl.base import KLWeighting, check_beta, check_period


class Warmup(KLWeighting):
    """weight(step) = beta * min(1, step / period).

    Arguments:
        period: The number of optimizer steps from weight 0 to weight beta.
        beta: The final weight.

    Raises:
        UserError: If `period` or `beta` is out of range.
    """

    def __init__(self, period: int = 1000, beta: float = 1.0):
        super().__init__()
        check_period(period)
        check_beta(beta)
        self.period = period
        self.beta = beta

    def weight(self, step: int) -> float:
        return self.beta * min(1.0, step / self.period)
