"""Free bits, a floor under the KL of every dimension: `kl=free_bits`.

Reference: Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
equation 15, arXiv:1606.04934
"""

import torch
from torch import Tensor

from vaelab.kl.base import KLWeighting, check_beta, check_nats


class FreeBits(KLWeighting):
    """beta * sum_d max(nats, KL_d): below the floor a dimension costs nothing more.

    Where only the whole KL is known (flows, mixtures) it is one group, with one floor, and kl.mean
    should be true: the floor of a single sample of a KL is above that of the KL itself.

    Arguments:
        nats: The floor of a dimension (lambda in the paper).
        mean: Whether the floor is under the mean over the images of a step, over all processes, as
            in the paper, or under the KL of each image.
    """

    linear = False

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
            above = self.mean_of_images(kl) > self.nats
            return self.beta * torch.where(above, kl, self.nats).sum(-1)
        return self.beta * kl.clamp(min=self.nats).sum(-1)
