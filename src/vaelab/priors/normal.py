"""The unit normal: `prior=normal`."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, constraints

from vaelab.priors.base import Prior


class UnitNormal(Prior):
    """p(z) = N(z; 0, I)."""

    support = constraints.real_vector
    mean: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self, encode: Callable[..., Distribution]) -> Independent:
        unit = Normal(self.mean, self.scale, validate_args=False)
        return Independent(unit, 1, validate_args=False)
