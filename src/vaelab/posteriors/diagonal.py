"""A normal with diagonal covariance: `posterior=diagonal`.

Reference: Auto-Encoding Variational Bayes (Kingma and Welling, 2014), arXiv:1312.6114
"""

from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.normal import DiagonalNormal
from vaelab.posteriors.base import Posterior, check_bound, diagonal_normal


class Diagonal(Posterior):
    """The posterior q(z|x) = N(z; m(x), diag(s(x)^2)).

    Arguments:
        latent_dim: The length of z.
        bound: The largest |log s|.

    Raises:
        UserError: If bound is out of range.
    """

    support = constraints.real_vector

    def __init__(self, latent_dim: int, bound: float = 7.0):
        super().__init__()
        check_bound(bound)
        self.inputs = 2 * latent_dim
        self.bound = bound

    def forward(self, out: Tensor) -> DiagonalNormal:
        mean, raw = out.chunk(2, dim=-1)
        return diagonal_normal(mean, raw, self.bound)
