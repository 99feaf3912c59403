"""Distributions of counts: Poisson, negative binomial and zero-inflated negative binomial.

All of them are computed in float64: with large counts, the terms of log p cancel to a few digits.

Reference: Deep Generative Modeling for Single-cell Transcriptomics (Lopez et al., 2018), methods
"""

import math
from copy import copy
from typing import Any, Self

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid, softplus

from vaelab.distributions.base import FactorizedDistribution
from vaelab.runtime.precision import to_double

MAX_COUNT = 2**24  # float32 holds all whole numbers up to it
MAX_LOG_MEAN = math.log(MAX_COUNT)
MIN_LOG_DISPERSION, MAX_LOG_DISPERSION = -10.0, 20.0  # of the inverse dispersion
MIN_TOTAL = 1e-8  # stands for the total of a row of zeros, whose log probability is then about 0


class IndependentPoisson(FactorizedDistribution):
    """Independent counts with the Poisson distribution of mean m_i = exposure * exp(log_rate_i).

    Arguments:
        log_rate: (*batch, *event), the logarithm of the mean per unit of exposure.
        dims: The number of event dimensions, counted from the last.
        exposure: None for an exposure of 1. Otherwise `log_prob` takes the total of each x as its
            exposure, and `mean`, `variance` and `sample` take this number, broadcastable to
            log_rate.
    """

    support: Any = constraints.nonnegative_integer

    def __init__(self, log_rate: Tensor, dims: int = 1, exposure: Tensor | None = None):
        self.log_rate, self.exposure = log_rate, exposure
        super().__init__(log_rate, dims)

    def at_total_of(self, value: Tensor) -> Self:
        """Return the distribution whose mean and samples have the totals of value as exposure."""
        if self.exposure is None:
            return self
        p = copy(self)
        p.exposure = value.sum(self.event_dims, keepdim=True)
        return p

    @property
    def mean(self) -> Tensor:
        return self._compute_log_mean(self.exposure).exp().to(self.log_rate)

    @property
    def variance(self) -> Tensor:
        return self.mean

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return torch.poisson(self.mean.expand(*sample_shape, *self.mean.shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute the sum of `entry_log_prob` over the event."""
        return self.sum_over_event(self._compute_entries(value)).to(self.log_rate)

    def entry_log_prob(self, value: Tensor) -> Tensor:
        """Compute log p(x_i) of each entry (*, *event)."""
        return self._compute_entries(value).to(self.log_rate)

    def _compute_log_mean(self, exposure: Tensor | None) -> Tensor:
        """Compute the logarithm of the mean in float64."""
        log_mean = to_double(self.log_rate)
        if exposure is not None:
            log_mean = log_mean + to_double(exposure).clamp(min=MIN_TOTAL).log()
        return log_mean.clamp(max=MAX_LOG_MEAN)

    def _compute_entries(self, value: Tensor) -> Tensor:
        has_exposure = self.exposure is not None
        total = value.sum(self.event_dims, keepdim=True) if has_exposure else None
        return self.compute_log_p(to_double(value), self._compute_log_mean(total))

    def compute_log_p(self, x: Tensor, log_mean: Tensor) -> Tensor:
        """Compute x ln m - m - ln x!."""
        return x * log_mean - log_mean.exp() - torch.lgamma(x + 1)


class IndependentNegativeBinomial(IndependentPoisson):
    """Independent counts with the negative binomial distribution.

    Its mean is m_i as for the Poisson distribution, and its variance m_i + m_i^2 / r_i. It is the
    Poisson distribution whose rate has a gamma distribution of shape r_i and mean m_i.

    Arguments:
        log_rate, dims, exposure: See `IndependentPoisson`.
        log_dispersion: The logarithm of the inverse dispersion r, broadcastable to log_rate; it is
            clamped to [-10, 20].
    """

    def __init__(
        self,
        log_rate: Tensor,
        log_dispersion: Tensor,
        dims: int = 1,
        exposure: Tensor | None = None,
    ):
        self.log_dispersion = log_dispersion
        super().__init__(log_rate, dims, exposure)

    @property
    def inverse_dispersion(self) -> Tensor:
        return self._clamp_log_dispersion().exp().to(self.log_rate)

    @property
    def variance(self) -> Tensor:
        return self.mean + self.mean.square() / self.inverse_dispersion

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        mean = self._compute_log_mean(self.exposure).exp().to(self.log_rate)
        mean, r = torch.broadcast_tensors(mean, self.inverse_dispersion)
        gamma = torch.distributions.Gamma(r, torch.ones_like(r), validate_args=False)
        return torch.poisson(mean / r * gamma.sample(torch.Size(sample_shape)))

    def _clamp_log_dispersion(self) -> Tensor:
        return to_double(self.log_dispersion).clamp(MIN_LOG_DISPERSION, MAX_LOG_DISPERSION)

    def compute_log_p(self, x: Tensor, log_mean: Tensor) -> Tensor:
        """Compute ln G(x + r) - ln G(r) - ln x! + r ln r/(r + m) + x ln m/(r + m)."""
        log_r = self._clamp_log_dispersion()
        r, logit = log_r.exp(), log_mean - log_r
        coefficient = torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1)
        return coefficient - r * softplus(logit) - x * softplus(-logit)


class IndependentZeroInflatedNegativeBinomial(IndependentNegativeBinomial):
    """Independent counts that are 0 with probability s(logits_i), else negative binomial.

    Arguments:
        log_rate, log_dispersion, dims, exposure: See `IndependentNegativeBinomial`; they are those
            of the negative binomial distribution, whose mean is larger than that of the counts.
        logits: (*batch, *event); s is the sigmoid.
    """

    def __init__(
        self,
        log_rate: Tensor,
        log_dispersion: Tensor,
        logits: Tensor,
        dims: int = 1,
        exposure: Tensor | None = None,
    ):
        self.logits = logits
        super().__init__(log_rate, log_dispersion, dims, exposure)

    @property
    def mean(self) -> Tensor:
        return (-self.logits).sigmoid() * super().mean

    @property
    def variance(self) -> Tensor:
        mean, kept = super().mean, (-self.logits).sigmoid()
        variance = mean + mean.square() / self.inverse_dispersion
        return kept * (variance + (1 - kept) * mean.square())

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        counts = super().sample(sample_shape)
        return counts * torch.bernoulli((-self.logits).sigmoid().expand_as(counts))

    def compute_log_p(self, x: Tensor, log_mean: Tensor) -> Tensor:
        """Compute ln(s + (1 - s) NB(0)) for x = 0, and ln(1 - s) + ln NB(x) for x > 0."""
        logits = to_double(self.logits)
        log_p = logsigmoid(-logits) + super().compute_log_p(x, log_mean)
        return torch.where(x == 0, torch.logaddexp(logsigmoid(logits), log_p), log_p)
