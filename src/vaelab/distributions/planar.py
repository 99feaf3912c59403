"""The planar flow, a diagonal normal transformed by a sequence of planar maps."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import softplus

from vaelab.distributions.normal import DiagonalNormal

BISECTIONS = 60
MIN_SLOPE = 1e-3  # of a map along w; at slope 0 the map would not be invertible
SOFTPLUS_SHIFT = math.log(math.e - 1)  # softplus(SOFTPLUS_SHIFT) = 1


class PlanarFlow(Distribution):
    """The distribution of z_T, where z_0 ~ base and z_t = z_{t-1} + u_t tanh(w_t . z_{t-1} + b_t).

    The component of u along w is changed so that w . u > -1, which makes every map invertible
    (appendix A.1 of the paper). Unlike the function of w . u in the paper, the one used here maps 0
    to 0, so that the change stays bounded as w approaches 0.

    Arguments:
        base: The distribution of z_0, with batch shape (*).
        u, w: (T, *, D).
        b: (T, *).

    Reference: Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), equations
    10 to 13 and appendix A.1, arXiv:1505.05770
    """

    has_rsample = True
    support: Any = constraints.real_vector

    def __init__(self, base: DiagonalNormal, u: Tensor, w: Tensor, b: Tensor):
        self.base = base
        along = (w * u).sum(-1, keepdim=True)
        self.along = (1 - MIN_SLOPE) * (softplus(along + SOFTPLUS_SHIFT) - 1)
        smallest = torch.finfo(w.dtype).tiny ** 0.5
        squared_length = w.square().sum(-1, keepdim=True).clamp(min=smallest)
        self.u = u + (self.along - along) * w / squared_length
        self.w, self.b = w, b.unsqueeze(-1)
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(self, sample_shape: Any = torch.Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """Sample z (*sample_shape, *, D) and compute its log density."""
        z = self.base.rsample(sample_shape)
        log_q = self.base.log_prob(z)
        for u, w, b, along in zip(self.u, self.w, self.b, self.along, strict=True):
            a = (w * z).sum(-1, keepdim=True) + b
            z = z + u * a.tanh()
            log_q = log_q - _log_slope(along, a)
        return z, log_q

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute the log density of any z; each map is inverted by bisection for w . z_{t-1}."""
        z, log_slopes = value, value.new_zeros(())
        for u, w, b, along in reversed(list(zip(self.u, self.w, self.b, self.along, strict=True))):
            a = _invert_along_w((w * z).sum(-1, keepdim=True), b, along) + b
            z = z - u * a.tanh()
            log_slopes = log_slopes + _log_slope(along, a)
        return self.base.log_prob(z) - log_slopes


def _log_slope(along: Tensor, a: Tensor) -> Tensor:
    """Compute ln |det| of a map, ln(1 + w . u tanh'(a)), where along = w . u."""
    return torch.log1p(along * 4 * (2 * a).sigmoid() * (-2 * a).sigmoid()).squeeze(-1)


def _invert_along_w(value: Tensor, b: Tensor, along: Tensor) -> Tensor:
    """Solve a + along tanh(a + b) = value for a; the result is differentiable in all arguments."""
    with torch.no_grad():
        low, high = value - along.abs(), value + along.abs()
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            is_above = middle + along * torch.tanh(middle + b) > value
            low, high = torch.where(is_above, low, middle), torch.where(is_above, middle, high)
        a = (low + high) / 2
        slope = 1 + along * (1 - torch.tanh(a + b).square())
    return a - (a + along * torch.tanh(a + b) - value) / slope  # a step of Newton's method
