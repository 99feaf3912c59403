"""The mean of several importance-weighted bounds: `objective=miwae`.

Reference: Tighter Variational Bounds are Not Necessarily Better (Rainforth et al., 2018),
equation 14, arXiv:1802.04537
"""

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import check_at_least_one, log_mean_exp
from vaelab.objectives.sampled import MultiSampleBound


class MIWAE(MultiSampleBound):
    """The mean of the importance-weighted bounds of M groups of K samples.

        1/M sum_m log 1/K sum_k w_mk

    The bound is looser than IWAE with all M K samples, but its encoder gradient has less noise.

    Arguments:
        kl: The weighting of the KL.
        groups: M.
        samples: K, the number of samples in each group.

    Raises:
        UserError: If `groups` or `samples` is below 1.
    """

    def __init__(self, kl: KLWeighting, groups: int = 2, samples: int = 5):
        check_at_least_one(groups=groups, samples=samples)
        super().__init__(kl, groups * samples)
        self.groups = groups

    def bound(self, log_w: Tensor) -> Tensor:
        return log_mean_exp(log_w.unflatten(0, (-1, self.groups))).mean(0)
