"""The importance-weighted bound: `objective=iwae`.

Reference: Importance Weighted Autoencoders (Burda et al., 2016), equation 8, arXiv:1509.00519
"""

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import log_mean_exp
from vaelab.objectives.sampled import SampledBound


class IWAE(SampledBound):
    """L_K = log 1/K sum_k w_k. One draw is the ELBO; more draws bring it closer to log p(x)."""

    def __init__(self, kl: KLWeighting, samples: int = 5):
        super().__init__(kl, samples)

    def bound(self, log_w: Tensor) -> Tensor:
        return log_mean_exp(log_w)
