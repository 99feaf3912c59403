"""The uniform distribution on the unit sphere, and the constraint |z| = 1."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint
from torch.nn.functional import normalize


class SphereConstraint(Constraint):
    """Vectors of length 1."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value.norm(dim=-1) - 1).abs() < 1e-4

    def __repr__(self) -> str:
        return "the unit sphere"


sphere_constraint = SphereConstraint()


def log_sphere_area(dim: int) -> float:
    """Compute ln of the area 2 pi^(dim/2) / Gamma(dim/2) of the unit sphere in R^dim."""
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


class UniformSphere(Distribution):
    """The uniform distribution on the unit sphere in R^D, with density 1 / area.

    Arguments:
        zeros: (D,), which sets the event shape, the dtype and the device.
    """

    support: Any = sphere_constraint

    def __init__(self, zeros: Tensor):
        self.zeros = zeros
        super().__init__(event_shape=zeros.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.zeros

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return normalize(torch.randn_like(self.zeros.expand(*sample_shape, -1)), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return value.new_full(value.shape[:-1], -log_sphere_area(len(self.zeros)))
