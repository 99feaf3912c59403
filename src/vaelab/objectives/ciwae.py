"""Between the ELBO and the importance-weighted bound: `objective=ciwae`.

Reference: Tighter Variational Bounds are Not Necessarily Better (Rainforth et al., 2018),
equation 15, arXiv:1802.04537
"""

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import log_mean_exp
from vaelab.objectives.sampled import SampledBound


class CIWAE(SampledBound):
    """beta ELBO + (1 - beta) L_K, both of the same K draws.

    Arguments:
        beta: Between 0, which is IWAE, and 1, the ELBO; kl.beta is something else.
    """

    def __init__(self, kl: KLWeighting, samples: int = 5, beta: float = 0.5):
        super().__init__(kl, samples)
        if not 0 <= beta <= 1:
            raise ValueError(f"objective.beta={beta}: it must lie in [0, 1]")
        self.beta = beta

    def bound(self, log_w: Tensor) -> Tensor:
        return self.beta * log_w.mean(0) + (1 - self.beta) * log_mean_exp(log_w)
