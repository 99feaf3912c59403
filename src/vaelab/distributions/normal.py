"""The normal distribution with a diagonal covariance."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, constraints, register_kl

from vaelab.distributions.base import Factorised

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class DiagonalNormal(Factorised):
    """N(mean, diag(exp(log_scale))^2) over the last `dims` dimensions of mean.

    Arguments:
        mean: (*, *event).
        log_scale: What broadcasts to the shape of mean.
    """

    has_rsample = True
    support: Any = constraints.real_vector

    def __init__(self, mean: Tensor, log_scale: Tensor, dims: int = 1):
        self.loc = mean
        self.log_scale = log_scale
        self.scale = log_scale.exp()
        super().__init__(mean, dims)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.scale.square().expand_as(self.loc)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = (*sample_shape, *self.loc.shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return torch.addcmul(self.loc, self.scale, noise)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Sum of -(x - mean)^2 / (2 scale^2) - ln scale - 1/2 ln 2 pi."""
        squares = self.total(((value - self.loc) / self.scale).square())
        log_volume = self.total((self.log_scale + HALF_LOG_TAU).expand_as(self.loc))
        return -0.5 * squares - log_volume

    def elements(self, value: Tensor) -> Tensor:
        """The log density of each element."""
        squares = ((value - self.loc) / self.scale).square()
        return -0.5 * squares - self.log_scale - HALF_LOG_TAU

    def kl(self, p: "DiagonalNormal") -> Tensor:
        """KL(self || p) of each element, in nats."""
        shift, log_ratio, ratio = self.loc, self.log_scale, self.scale
        if not isinstance(p, StandardNormal):
            shift, ratio = (shift - p.loc) / p.scale, ratio / p.scale
            log_ratio = log_ratio - p.log_scale
        return 0.5 * (shift.square() + ratio.square() - 1) - log_ratio


class StandardNormal(DiagonalNormal):
    """N(0, I)."""

    def __init__(self, zeros: Tensor):
        super().__init__(zeros, zeros)


class FullNormal(MultivariateNormal):
    """N(mean, L L^T), whose own draws need no system of equations for their density."""

    def rsample_and_log_prob(self, sample_shape: Any = torch.Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """z (*sample_shape, *, D) and its log density -|noise|^2 / 2 - ln |L| - D/2 ln 2 pi."""
        noise = torch.randn_like(self.loc.expand(*sample_shape, *self.loc.shape))
        z = self.loc + (self.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
        log_volume = self.scale_tril.diagonal(dim1=-2, dim2=-1).log() + HALF_LOG_TAU
        return z, -0.5 * noise.square().sum(-1) - log_volume.sum(-1)


@register_kl(DiagonalNormal, DiagonalNormal)
def _(q: DiagonalNormal, p: DiagonalNormal) -> Tensor:
    return q.total(q.kl(p))


@register_kl(MultivariateNormal, DiagonalNormal)
def _(q: MultivariateNormal, p: DiagonalNormal) -> Tensor:
    """1/2 sum_d [(S_dd + (m_d - n_d)^2) / v_d - 1 + ln v_d] - 1/2 ln |S|."""
    squares = q.variance + (q.mean - p.mean).square()
    log_volume = q.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return (0.5 * (squares / p.scale.square() - 1) + p.log_scale).sum(-1) - log_volume
