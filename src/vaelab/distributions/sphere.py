"""The uniform distribution on the unit sphere, and the sphere as a support."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint
from torch.nn.functional import normalize


class _Sphere(Constraint):
    """|z| = 1."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value.norm(dim=-1) - 1).abs() < 1e-4

    def __repr__(self) -> str:
        return "the unit sphere"


sphere = _Sphere()


def log_area(dim: int) -> float:
    """ln of the area of the unit sphere in `dim` dimensions, 2 pi^(dim/2) / Gamma(dim/2)."""
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


class UniformSphere(Distribution):
    """A density of 1 / area everywhere on the unit sphere; `zeros` (D,) says where it is kept."""

    support: Any = sphere

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
        return value.new_full(value.shape[:-1], -log_area(len(self.zeros)))
