"""A normal with diagonal covariance: `posterior=diagonal` and `posterior=clamped`.

References:
    Auto-Encoding Variational Bayes (Kingma and Welling, 2014), arXiv:1312.6114
    High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022), appendix G,
    arXiv:2112.10752
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


class Clamped(Diagonal):
    """The posterior q(z|x) = N(z; m(x), diag(s(x)^2)) with log s^2 clamped to 2 [-bound, bound].

    The encoder outputs log s^2, as in the autoencoders of latent diffusion, so that their weights
    mean the same here. Beyond the bound, log s^2 has no gradient.
    """

    def forward(self, out: Tensor) -> DiagonalNormal:
        mean, log_variance = out.chunk(2, dim=-1)
        return DiagonalNormal(mean, (log_variance / 2).clamp(-self.bound, self.bound))
