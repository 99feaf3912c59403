"""The planar flow: `posterior=planar`.

Reference: Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), equations 10
to 13, arXiv:1505.05770
"""

from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.planar import PlanarFlow
from vaelab.posteriors.base import Posterior, check_bound, check_count, diagonal_normal


class Planar(Posterior):
    """The posterior of z_T, a normal variable transformed by T planar maps.

    z_0 ~ N(m(x), diag(s(x)^2)), then z_t = z_{t-1} + u_t(x) tanh(w_t(x) . z_{t-1} + b_t(x)).

    Arguments:
        latent_dim: The length of z.
        transforms: The number of maps T; their parameters are encoder outputs.
        bound: The largest |log s|.

    Raises:
        UserError: If transforms or bound is out of range.
    """

    support = constraints.real_vector

    def __init__(self, latent_dim: int, transforms: int = 10, bound: float = 7.0):
        super().__init__()
        check_bound(bound)
        check_count("transforms", transforms)
        map_sizes = [latent_dim * transforms, latent_dim * transforms, transforms]
        self.parts = [latent_dim, latent_dim, *map_sizes]
        self.inputs = sum(self.parts)
        self.transforms, self.bound = transforms, bound

    def forward(self, out: Tensor) -> PlanarFlow:
        mean, raw, u, w, b = out.split(self.parts, -1)
        u, w = (vectors.unflatten(-1, (self.transforms, -1)).movedim(-2, 0) for vectors in (u, w))
        return PlanarFlow(diagonal_normal(mean, raw, self.bound), u, w, b.movedim(-1, 0))
