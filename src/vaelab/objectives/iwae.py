"""The importance-weighted bound: `objective=iwae`.

Reference: Importance Weighted Autoencoders (Burda et al., 2016), equation 8, arXiv:1509.00519
"""

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import check_non_negative, log_mean_exp
from vaelab.objectives.sampled import MultiSampleBound


class IWAE(MultiSampleBound):
    """The importance-weighted bound of K samples.

        L_K = log 1/K sum_k w_k,    w_k = p(x, z_k) / q(z_k|x),    z_k ~ q(z|x)

    L_1 is the ELBO; with more samples the bound comes closer to log p(x).

    Arguments:
        kl: The weighting of the KL.
        samples: K.
        elbo_steps: The number of optimizer steps at the start that use one sample, and so train the
            ELBO. They bring the model most of the way, while a step with K samples costs nearly K
            passes through the decoder. Validation always uses K samples.

    Raises:
        UserError: If `elbo_steps` is negative.
    """

    def __init__(self, kl: KLWeighting, samples: int = 5, elbo_steps: int = 0):
        super().__init__(kl, samples)
        check_non_negative(elbo_steps=elbo_steps)
        self.elbo_steps = elbo_steps

    def count_samples(self, step: int) -> int:
        return 1 if self.training and step < self.elbo_steps else self.samples

    def bound(self, log_w: Tensor) -> Tensor:
        return log_mean_exp(log_w)
