"""The uniform prior over codebook indices: `prior=codes`, with posterior=vq.

Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), section 3.1,
arXiv:1711.00937
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.distributions.codebook import UniformIndices, codebook_constraint
from vaelab.posteriors.base import Posterior
from vaelab.posteriors.quantizer import Quantizer
from vaelab.priors.base import Prior
from vaelab.runtime.errors import UserError


class Codes(Prior):
    """The prior p(z) = K^-n over n codes of a codebook with K codes.

    KL(q(z|x) || p(z)) = n ln K for every x.
    """

    support = codebook_constraint
    zeros: Tensor
    size: int

    def prepare(self, posterior: Posterior) -> None:
        count, self.size = get_code_counts(posterior, self.latent_dim)
        self.register_buffer("zeros", torch.zeros(count), persistent=False)

    def forward(self, encode: Callable[..., Distribution]) -> UniformIndices:
        return UniformIndices(self.zeros, self.size)


def get_code_counts(posterior: Posterior, latent_dim: int) -> tuple[int, int]:
    """Return the number of codes in z, and the number of codes in a codebook.

    Raises:
        UserError: If the posterior has no codebook.
    """
    if not isinstance(posterior, Quantizer):
        raise UserError(
            f"{type(posterior).__name__} has no codebook for the prior: set posterior=vq, "
            "fsq, lfq or residual_vq"
        )
    return latent_dim // posterior.code_length, posterior.codes


def get_book_count(posterior: Posterior) -> int:
    """Return the number of codebooks, of which code i of z uses number i mod the count."""
    return posterior.books if isinstance(posterior, Quantizer) else 0
