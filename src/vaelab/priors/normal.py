"""The standard normal distribution: `prior=normal`."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaelab.distributions.normal import StandardNormal
from vaelab.priors.base import Prior


class UnitNormal(Prior):
    """The prior p(z) = N(z; 0, I).

    Arguments:
        latent_dim: The length of z.
        shape: The shape of one x (unused).
    """

    support = constraints.real_vector
    zeros: Tensor

    def __init__(self, latent_dim: int, shape: Sequence[int]):
        super().__init__(latent_dim, shape)
        self.register_buffer("zeros", torch.zeros(latent_dim), persistent=False)

    def forward(self, encode: Callable[..., Distribution]) -> StandardNormal:
        return StandardNormal(self.zeros)
