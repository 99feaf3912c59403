"""A combination of the ELBO and the importance-weighted bound: `objective=ciwae`.

Reference: Tighter Variational Bounds are Not Necessarily Better (Rainforth et al., 2018),
equation 15, arXiv:1802.04537
"""

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import log_mean_exp
from vaelab.objectives.sampled import MultiSampleBound
from vaelab.runtime.errors import UserError


class CIWAE(MultiSampleBound):
    """The bound beta ELBO + (1 - beta) L_K, both from the same K samples.

        L_K = log 1/K sum_k w_k

    Arguments:
        kl: The weighting of the KL.
        samples: K.
        beta: The weight of the ELBO: 0 is IWAE, 1 is the ELBO. It is not kl.beta.

    Raises:
        UserError: If `beta` is outside [0, 1].
    """

    def __init__(self, kl: KLWeighting, samples: int = 5, beta: float = 0.5):
        super().__init__(kl, samples)
        if not 0 <= beta <= 1:
            raise UserError(f"objective.beta={beta}: it must lie in [0, 1]")
        self.beta = beta

    def bound(self, log_w: Tensor) -> Tensor:
        return self.beta * log_w.mean(0) + (1 - self.beta) * log_mean_exp(log_w)
