"""A diagonal normal, bent by planar maps."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import softplus

from vaelab.distributions.normal import DiagonalNormal

HALVINGS = 60
SLOPE = 1e-3  # of a map along w, at least: at 0 it could not be turned back
FLAT = math.log(math.e - 1)  # softplus(FLAT) = 1


class PlanarFlow(Distribution):
    """z_0 ~ base, z_t = z_{t-1} + u_t tanh(w_t . z_{t-1} + b_t).

    The part of u along w is replaced so that w . u > -1 and every map can be turned back, as in
    appendix A.1 of the paper, but with a map from w . u that keeps 0: the paper's divides by |w|.

    Arguments:
        base: Of batch shape (*).
        u, w: (T, *, D).
        b: (T, *).
    """

    has_rsample = True
    support: Any = constraints.real_vector

    def __init__(self, base: DiagonalNormal, u: Tensor, w: Tensor, b: Tensor):
        self.base = base
        along = (w * u).sum(-1, keepdim=True)
        self.along = (1 - SLOPE) * (softplus(along + FLAT) - 1)
        length = w.square().sum(-1, keepdim=True).clamp(min=torch.finfo(w.dtype).tiny ** 0.5)
        self.u = u + (self.along - along) * w / length
        self.w, self.b = w, b.unsqueeze(-1)
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(self, sample_shape: Any = torch.Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """z (*sample_shape, *, D) and its log density."""
        z = self.base.rsample(sample_shape)
        log_q = self.base.log_prob(z)
        for u, w, b, along in zip(self.u, self.w, self.b, self.along, strict=True):
            a = (w * z).sum(-1, keepdim=True) + b
            z = z + u * a.tanh()
            log_q = log_q - _log_slope(along, a)
        return z, log_q

    def log_prob(self, value: Tensor) -> Tensor:
        """Of any z: each map is turned back by finding w . z_{t-1}."""
        z, log_slopes = value, value.new_zeros(())
        for u, w, b, along in reversed(list(zip(self.u, self.w, self.b, self.along, strict=True))):
            a = _before((w * z).sum(-1, keepdim=True), b, along) + b
            z = z - u * a.tanh()
            log_slopes = log_slopes + _log_slope(along, a)
        return self.base.log_prob(z) - log_slopes


def _log_slope(along: Tensor, a: Tensor) -> Tensor:
    """ln |det| of a map, ln(1 + w . u tanh'(a)): the stretch along w."""
    return torch.log1p(along * 4 * (2 * a).sigmoid() * (-2 * a).sigmoid()).squeeze(-1)


def _before(after: Tensor, b: Tensor, along: Tensor) -> Tensor:
    """The a that solves a + along tanh(a + b) = after, with its gradient by all three."""
    with torch.no_grad():
        low, high = after - along.abs(), after + along.abs()
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = middle + along * torch.tanh(middle + b) > after
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        a = (low + high) / 2
        slope = 1 + along * (1 - torch.tanh(a + b).square())
    return a - (a + along * torch.tanh(a + b) - after) / slope  # a step of Newton's method
