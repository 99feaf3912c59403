"""Normal with a diagonal covariance: `posterior=diagonal`.

Reference: Auto-Encoding Variational Bayes (Kingma and Welling, 2014), arXiv:1312.6114
"""

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.normal import DiagonalNormal
from vaelab.posteriors.base import Posterior


class Diagonal(Posterior):
    """q(z|x) = N(z; m(x), diag(s(x)^2)), with log s = bound * tanh(out / bound).

    The bound keeps s and 1/s finite for every encoder output, where an unbounded exponential
    overflows; far from it the map is the identity.

    Arguments:
        bound: The largest |log s|.
    """

    support = constraints.real_vector

    def __init__(self, latent_dim: int, bound: float = 7.0):
        super().__init__()
        if not 0 < bound <= 40:
            raise ValueError(f"posterior.bound={bound}: float32 has room for a bound in (0, 40]")
        self.inputs = 2 * latent_dim
        self.bound = bound

    def forward(self, out: Tensor) -> DiagonalNormal:
        mean, log_scale = out.chunk(2, dim=-1)
        return DiagonalNormal(mean, self.bound * torch.tanh(log_scale / self.bound))
