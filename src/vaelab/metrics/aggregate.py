"""The aggregate posterior q(z) = 1/N sum_n q(z|x_n), and what it makes of the KL.

E_x KL(q(z|x) || p(z)) = I_q(x; z) + KL(q(z) || p(z)), the x being these N images, and where all of
it falls into dimensions KL(q(z) || p(z)) = TC + sum_d KL(q(z_d) || p(z_d)).

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

AT_ONCE = 2**21  # densities


class AggregatePosterior:
    """q(z), the explicit mixture of all q(z|x_n), in memory that N does not change.

    Arguments:
        q: q(z|x_n), batch shape (N,).
    """

    def __init__(self, q: Distribution):
        self.q: Any = q
        self.images = q.batch_shape[0]

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) (I,) of z (I, D)."""
        whole = make_mixture(z.new_zeros(self.images), self.q)
        parts = z.split(max(1, AT_ONCE // self.images))
        return torch.cat([whole.log_prob(part) for part in parts])

    def log_marginals(self, z: Tensor) -> Tensor:
        """log q(z_d) (I, D) of each dimension of z (I, D), for diagonal normals q(z|x)."""
        if not isinstance(self.q, DiagonalNormal):
            raise ValueError(f"the dimensions of {type(self.q).__name__} have no density here")
        parts = z.split(max(1, AT_ONCE // (self.images * z.shape[-1])))
        each = [self.q.elements(part.unsqueeze(1)).logsumexp(1) for part in parts]
        return torch.cat(each) - math.log(self.images)


def decompose_kl(
    aggregate: AggregatePosterior, z: Tensor, log_q: Tensor, log_p: Tensor | None, factorised: bool
) -> dict[str, Tensor]:
    """What log q(z|x) - log p(z) (I,) is the sum of, at draws z (I, D) of q(z|x).

    mutual_information, log q(z|x) - log q(z), which is at most ln N, and aggregate_kl, log q(z) -
    log p(z); this again is the sum of total_correlation, log q(z) - sum_d log q(z_d), and
    dimension_kl, sum_d log q(z_d) - log p(z).

    Arguments:
        log_q: log q(z|x) (I,).
        log_p: log p(z) (I,); None leaves out what it is needed for.
        factorised: Whether p(z) and q(z|x) fall into dimensions; if not, the last two are left out.
    """
    log_q_z = aggregate.log_prob(z)
    parts = {"mutual_information": log_q - log_q_z}
    if log_p is not None:
        parts["aggregate_kl"] = log_q_z - log_p
    if log_p is not None and factorised:
        log_q_each = aggregate.log_marginals(z).sum(-1)
        parts["total_correlation"] = log_q_z - log_q_each
        parts["dimension_kl"] = log_q_each - log_p
    return parts
