"""The Renyi bound: `objective=renyi`.

Reference: Renyi Divergence Variational Inference (Li and Turner, 2016), equation 7 and its limits,
arXiv:1602.02311
"""

import math

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import log_mean_exp
from vaelab.objectives.sampled import MultiSampleBound
from vaelab.runtime.errors import UserError


class Renyi(MultiSampleBound):
    """The variational Renyi bound of order alpha, from K samples.

        1/(1 - alpha) log 1/K sum_k w_k^(1 - alpha)

    Arguments:
        kl: The weighting of the KL.
        samples: K.
        alpha: The order. 1 is the ELBO, 0 is IWAE, and -inf takes the largest weight alone
            (VR-max). With alpha below 0 and enough samples it is an upper bound on log p(x).

    Raises:
        UserError: If `alpha` is inf or NaN.
    """

    def __init__(self, kl: KLWeighting, samples: int = 5, alpha: float = 0.5):
        super().__init__(kl, samples)
        if not alpha < math.inf:
            raise UserError(f"objective.alpha={alpha}: it must be below inf, as in 0.5 or -inf")
        self.alpha = alpha

    def bound(self, log_w: Tensor) -> Tensor:
        if self.alpha == 1:
            return log_w.mean(0)
        if self.alpha == -math.inf:
            return log_w.max(0).values
        return log_mean_exp((1 - self.alpha) * log_w) / (1 - self.alpha)
