"""Every code alike: `prior=codes`, with posterior=vq.

Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), section 3.1,
arXiv:1711.00937
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.distributions.codebook import UniformIndices, codes_constraint
from vaelab.posteriors.base import Posterior
from vaelab.posteriors.vq import VQ
from vaelab.priors.base import Prior


class Codes(Prior):
    """p(z) = K^-n for n codes out of K, so that KL(q(z|x) || p(z)) = n ln K."""

    support = codes_constraint
    zeros: Tensor
    size: int

    def prepare(self, posterior: Posterior) -> None:
        count, self.size = count_codes(posterior, self.latent_dim)
        self.register_buffer("zeros", torch.zeros(count), persistent=False)

    def forward(self, encode: Callable[..., Distribution]) -> UniformIndices:
        return UniformIndices(self.zeros, self.size)


def count_codes(posterior: Posterior, latent_dim: int) -> tuple[int, int]:
    """How many codes z is made of, and of how many they are chosen."""
    if not isinstance(posterior, VQ):
        raise ValueError(
            f"{type(posterior).__name__} has no codebook for the prior: set posterior=vq"
        )
    return latent_dim // posterior.dim, posterior.codes
