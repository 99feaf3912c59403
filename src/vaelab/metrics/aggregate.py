"""The aggregate posterior q(z) = 1/N sum_n q(z|x_n) and the decomposition of the KL with it.

For the N images x_n, E_x KL(q(z|x) || p(z)) = I_q(x; z) + KL(q(z) || p(z)). If the dimensions of
p(z) and q(z|x) are independent, KL(q(z) || p(z)) = TC + sum_d KL(q(z_d) || p(z_d)).

References:
    ELBO Surgery: Yet Another Way to Carve Up the Variational Evidence Lower Bound (Hoffman and
    Johnson, 2016)
    Isolating Sources of Disentanglement in Variational Autoencoders (Chen et al., 2018),
    equation 2, arXiv:1802.04942
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.distributions.mixture import make_mixture
from vaelab.distributions.normal import DiagonalNormal
from vaelab.runtime.errors import UserError

MAX_DENSITIES = 2**21  # densities evaluated in one chunk


class AggregatePosterior:
    """The explicit mixture q(z) of all q(z|x_n), evaluated in chunks of bounded memory.

    Arguments:
        q: q(z|x_n) with batch shape (N,).
    """

    def __init__(self, q: Distribution):
        self.q: Any = q
        self.images = q.batch_shape[0]

    def log_prob(self, z: Tensor) -> Tensor:
        """Compute log q(z) (I,) of z (I, D)."""
        mixture = make_mixture(z.new_zeros(self.images), self.q)
        chunks = z.split(max(1, MAX_DENSITIES // self.images))
        return torch.cat([mixture.log_prob(chunk) for chunk in chunks])

    def log_marginals(self, z: Tensor) -> Tensor:
        """Compute log q(z_d) (I, D) of each dimension of z (I, D), for diagonal normals q(z|x).

        Raises:
            UserError: If q(z|x) is not a diagonal normal.
        """
        if not isinstance(self.q, DiagonalNormal):
            raise UserError(
                f"marginal densities need diagonal normals q(z|x), not {type(self.q).__name__}: "
                "set posterior=diagonal"
            )
        chunks = z.split(max(1, MAX_DENSITIES // (self.images * z.shape[-1])))
        sums = [self.q.entry_log_prob(chunk.unsqueeze(1)).logsumexp(1) for chunk in chunks]
        return torch.cat(sums) - math.log(self.images)


def decompose_kl(
    aggregate: AggregatePosterior, z: Tensor, log_q: Tensor, log_p: Tensor | None, factorised: bool
) -> dict[str, Tensor]:
    """Decompose log q(z|x) - log p(z) (I,) at samples z of q(z|x).

    Arguments:
        z: Samples (I, D) of q(z|x).
        log_q: log q(z|x) (I,).
        log_p: log p(z) (I,), or None if it is unknown.
        factorised: True if the dimensions of p(z) and q(z|x) are independent.

    Returns:
        Terms (I,) in nats. mutual_information is log q(z|x) - log q(z), whose mean is at most ln N.
        aggregate_kl is log q(z) - log p(z), if log_p is given. It is the sum of total_correlation,
        log q(z) - sum_d log q(z_d), and dimension_kl, sum_d log q(z_d) - log p(z), which are only
        returned if factorised is True.
    """
    log_q_z = aggregate.log_prob(z)
    parts = {"mutual_information": log_q - log_q_z}
    if log_p is not None:
        parts["aggregate_kl"] = log_q_z - log_p
    if log_p is not None and factorised:
        log_q_marginals = aggregate.log_marginals(z).sum(-1)
        parts["total_correlation"] = log_q_z - log_q_marginals
        parts["dimension_kl"] = log_q_marginals - log_p
    return parts
