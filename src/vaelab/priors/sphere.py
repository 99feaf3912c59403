"""The uniform distribution on the unit sphere: `prior=sphere`, with posterior=vmf.

Reference: Hyperspherical Variational Auto-Encoders (Davidson et al., 2018), arXiv:1804.00891
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.distributions.sphere import UniformSphere, sphere_constraint
from vaelab.priors.base import Prior


class Sphere(Prior):
    """The prior p(z) = 1 / area on the unit sphere in R^latent_dim.

    Arguments:
        latent_dim: The length of z.
        shape: The shape of one x (unused).
    """

    support = sphere_constraint
    zeros: Tensor

    def __init__(self, latent_dim: int, shape: Sequence[int]):
        super().__init__(latent_dim, shape)
        self.register_buffer("zeros", torch.zeros(latent_dim), persistent=False)

    def forward(self, encode: Callable[..., Distribution]) -> UniformSphere:
        return UniformSphere(self.zeros)
