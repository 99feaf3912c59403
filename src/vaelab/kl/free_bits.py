"""Free bits, a lower limit on the KL of each latent dimension: `kl=free_bits`.

Reference: Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
equation 15, arXiv:1606.04934
"""

import torch
from torch import Tensor

from vaelab.kl.base import KLWeighting, check_beta, check_nats


class FreeBits(KLWeighting):
    """The KL with a floor for each dimension, below which the KL has no gradient.

        beta * sum_d max(nats, KL_d)

    Where only the total KL is known (flows, mixtures), there is one floor for the total. Set
    kl.mean=true there: the mean of max(nats, sample) over samples of a KL is larger than
    max(nats, KL).

    Arguments:
        nats: The floor in nats, lambda in the paper.
        beta: The weight.
        mean: If true, the floor applies to the mean KL_d over the images of a step and over all
            processes, as in the paper; if false, to the KL_d of each image.

    Raises:
        UserError: If `nats` or `beta` is negative or not finite.
    """

    is_linear = False

    def __init__(self, nats: float = 0.1, beta: float = 1.0, mean: bool = False):
        super().__init__()
        check_beta(beta)
        check_nats(nats)
        self.nats = nats
        self.beta = beta
        self.mean = mean

    def weight(self, step: int) -> float:
        return self.beta

    def forward(self, kl: Tensor, step: int) -> Tensor:
        if self.mean:
            is_above = self.mean_over_images(kl) > self.nats
            return self.beta * torch.where(is_above, kl, self.nats).sum(-1)
        return self.beta * kl.clamp(min=self.nats).sum(-1)
