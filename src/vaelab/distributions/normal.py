"""Normal distributions with a diagonal or a full covariance."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, constraints, register_kl

from vaelab.distributions.base import FactorizedDistribution

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class DiagonalNormal(FactorizedDistribution):
    """The normal distribution N(mean, diag(exp(log_scale)^2)).

    Arguments:
        mean: (*batch, *event).
        log_scale: The logarithm of the standard deviations, broadcastable to the shape of mean.
        dims: The number of event dimensions, counted from the last.
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
        """Compute sum_i -(x_i - mean_i)^2 / (2 scale_i^2) - ln scale_i - 1/2 ln 2 pi."""
        squares = self.sum_over_event(((value - self.loc) / self.scale).square())
        log_volume = self.sum_over_event((self.log_scale + HALF_LOG_TAU).expand_as(self.loc))
        return -0.5 * squares - log_volume

    def entry_log_prob(self, value: Tensor) -> Tensor:
        """Compute the log density of each element."""
        squares = ((value - self.loc) / self.scale).square()
        return -0.5 * squares - self.log_scale - HALF_LOG_TAU

    def elementwise_kl(self, p: "DiagonalNormal") -> Tensor:
        """Compute KL(self || p) of each element, in nats."""
        shift, log_ratio, ratio = self.loc, self.log_scale, self.scale
        if not isinstance(p, StandardNormal):
            shift, ratio = (shift - p.loc) / p.scale, ratio / p.scale
            log_ratio = log_ratio - p.log_scale
        return 0.5 * (shift.square() + ratio.square() - 1) - log_ratio


class StandardNormal(DiagonalNormal):
    """The standard normal distribution N(0, I).

    Arguments:
        zeros: (*batch, D), which sets the shape, the dtype and the device.
    """

    def __init__(self, zeros: Tensor):
        super().__init__(zeros, zeros)


class FullNormal(MultivariateNormal):
    """The normal distribution N(mean, L L^T) with the lower triangular factor L.

    `rsample_and_log_prob` computes the density of a sample from its noise, without solving a
    triangular system.
    """

    def rsample_and_log_prob(self, sample_shape: Any = torch.Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """Sample z (*sample_shape, *batch, D) and compute its log density.

        For z = mean + L noise it is -|noise|^2 / 2 - ln |L| - D/2 ln 2 pi.
        """
        noise = torch.randn_like(self.loc.expand(*sample_shape, *self.loc.shape))
        z = self.loc + (self.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
        log_volume = self.scale_tril.diagonal(dim1=-2, dim2=-1).log() + HALF_LOG_TAU
        return z, -0.5 * noise.square().sum(-1) - log_volume.sum(-1)


@register_kl(DiagonalNormal, DiagonalNormal)
def _(q: DiagonalNormal, p: DiagonalNormal) -> Tensor:
    return q.sum_over_event(q.elementwise_kl(p))


@register_kl(MultivariateNormal, DiagonalNormal)
def _(q: MultivariateNormal, p: DiagonalNormal) -> Tensor:
    """KL(q || p) = 1/2 sum_d [(S_dd + (m_d - n_d)^2) / v_d - 1 + ln v_d] - 1/2 ln |S|.

    q = N(m, S) and p = N(n, diag(v)).
    """
    squares = q.variance + (q.mean - p.mean).square()
    log_volume = q.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return (0.5 * (squares / p.scale.square() - 1) + p.log_scale).sum(-1) - log_volume
