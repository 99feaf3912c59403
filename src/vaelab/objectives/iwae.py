"""The importance-weighted bound: `objective=iwae`.

Reference: Importance Weighted Autoencoders (Burda et al., 2016), equation 8, arXiv:1509.00519
"""

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import check_not_negative, log_mean_exp
from vaelab.objectives.sampled import SampledBound


class IWAE(SampledBound):
    """L_K = log 1/K sum_k w_k. One draw is the ELBO; more draws bring it closer to log p(x).

    Arguments:
        elbo_steps: The first steps, which take one draw: a step of K costs nearly K decoders, and
            the ELBO brings a model most of the way. Validation always takes K.
    """

    def __init__(self, kl: KLWeighting, samples: int = 5, elbo_steps: int = 0):
        super().__init__(kl, samples)
        check_not_negative(elbo_steps=elbo_steps)
        self.elbo_steps = elbo_steps

    def draws(self, step: int) -> int:
        return 1 if self.training and step < self.elbo_steps else self.samples

    def bound(self, log_w: Tensor) -> Tensor:
        return log_mean_exp(log_w)
