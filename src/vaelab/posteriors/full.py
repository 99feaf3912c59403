"""A normal with full covariance: `posterior=full`.

Reference: An Introduction to Variational Autoencoders (Kingma and Welling, 2019), section 2.5.1,
arXiv:1906.02691
"""

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.normal import FullNormal
from vaelab.posteriors.base import Posterior, check_bound


class Full(Posterior):
    """The posterior q(z|x) = N(z; m(x), L(x) L(x)^T), L lower triangular with positive diagonal.

    The entries of L below the diagonal are encoder outputs divided by D = latent_dim. There are
    about D^2/2 of them, and without the division the noise of their gradients would dominate.

    The density of a z that is not a sample of q requires the solution of a triangular system. Its
    rounding errors grow with D if the entries below the diagonal are large.

    Arguments:
        latent_dim: D.
        bound: The largest |log L_dd|.

    Raises:
        UserError: If bound is out of range.
    """

    support = constraints.real_vector

    def __init__(self, latent_dim: int, bound: float = 7.0):
        super().__init__()
        check_bound(bound)
        self.latent_dim = latent_dim
        self.inputs = 2 * latent_dim + latent_dim * (latent_dim - 1) // 2
        self.bound = bound

    def forward(self, out: Tensor) -> FullNormal:
        dim = self.latent_dim
        mean, raw, below = out.split([dim, dim, self.inputs - 2 * dim], -1)
        factor = torch.diag_embed((self.bound * torch.tanh(raw / self.bound)).exp())
        row, column = torch.tril_indices(dim, dim, -1, device=out.device)
        factor[..., row, column] = below / dim
        return FullNormal(mean, scale_tril=factor, validate_args=False)
