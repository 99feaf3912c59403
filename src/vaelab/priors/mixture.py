"""A learned mixture of diagonal normals: `prior=mixture`.

Reference: VAE with a VampPrior (Tomczak and Welling, 2018), section 2 (the MoG prior),
arXiv:1705.07120
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.distributions import Distribution, MixtureSameFamily, constraints

from vaelab.distributions.mixture import make_mixture
from vaelab.distributions.normal import DiagonalNormal
from vaelab.priors.base import Prior, check_at_least_one

MAX_LOG_SCALE = 7.0  # the largest |log s|


class Mixture(Prior):
    """The prior p(z) = sum_k w_k N(z; m_k, diag(s_k^2)) with learned w, m and s.

    Arguments:
        latent_dim: The length of z.
        shape: The shape of one x (unused).
        components: The number of normals. Their means are initialized with samples of N(0, I).

    Raises:
        UserError: If components is below 1.
    """

    support = constraints.real_vector

    def __init__(self, latent_dim: int, shape: Sequence[int], components: int = 20):
        super().__init__(latent_dim, shape)
        check_at_least_one(components=components)
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, latent_dim))
        self.raw = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self, encode: Callable[..., Distribution]) -> MixtureSameFamily:
        log_scale = MAX_LOG_SCALE * torch.tanh(self.raw / MAX_LOG_SCALE)
        return make_mixture(self.logits, DiagonalNormal(self.means, log_scale))
