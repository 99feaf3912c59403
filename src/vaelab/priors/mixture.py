"""A mixture of diagonal normals, learned: `prior=mixture`.

Reference: VAE with a VampPrior (Tomczak and Welling, 2018), section 2 (there as the MoG prior),
arXiv:1705.07120
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.distributions import Distribution, MixtureSameFamily, constraints

from vaelab.distributions.mixture import make_mixture
from vaelab.distributions.normal import DiagonalNormal
from vaelab.priors.base import Prior, check_at_least_one

BOUND = 7.0  # of |log s|


class Mixture(Prior):
    """p(z) = sum_k w_k N(z; m_k, diag(s_k^2)), all of it learned.

    Arguments:
        components: The number of normals. Their means start at draws of the unit normal.
    """

    support = constraints.real_vector

    def __init__(self, latent_dim: int, shape: Sequence[int], components: int = 20):
        super().__init__(latent_dim, shape)
        check_at_least_one(components=components)
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, latent_dim))
        self.raw = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self, encode: Callable[..., Distribution]) -> MixtureSameFamily:
        return make_mixture(
            self.logits, DiagonalNormal(self.means, BOUND * torch.tanh(self.raw / BOUND))
        )
