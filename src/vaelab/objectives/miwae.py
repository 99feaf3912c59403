"""The mean of several importance-weighted bounds: `objective=miwae`.

Reference: Tighter Variational Bounds are Not Necessarily Better (Rainforth et al., 2018),
equation 14, arXiv:1802.04537
"""

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import check_at_least_one, log_mean_exp
from vaelab.objectives.sampled import SampledBound


class MIWAE(SampledBound):
    """1/M sum_m log 1/K sum_k w_mk: a looser bound whose encoder gradient has less noise.

    Arguments:
        groups: M.
        samples: K, of each group.
    """

    def __init__(self, kl: KLWeighting, groups: int = 2, samples: int = 5):
        check_at_least_one(groups=groups, samples=samples)
        super().__init__(kl, groups * samples)
        self.groups = groups

    def bound(self, log_w: Tensor) -> Tensor:
        return log_mean_exp(log_w.unflatten(0, (-1, self.groups))).mean(0)
