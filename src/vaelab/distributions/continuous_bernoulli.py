"""The continuous Bernoulli distribution, a density on [0, 1]."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.base import FactorizedDistribution

SERIES_BOUND = 0.25  # for smaller |y| the closed forms lose digits; the series is exact to 1e-9


class IndependentContinuousBernoulli(FactorizedDistribution):
    """Independent continuous Bernoulli variables with logits l.

    p(x) = exp(l (x - 1/2)) (l/2) / sinh(l/2) = C(s(l)) s(l)^x (1 - s(l))^(1-x) for x in [0, 1],
    where s is the sigmoid.

    torch.distributions.ContinuousBernoulli is computed from s(l), which float32 rounds to 1 at
    l = 17. This class is computed from l and does not saturate.

    Arguments:
        logits: l (*batch, *event).
        dims: The number of event dimensions, counted from the last.
    """

    support: Any = constraints.unit_interval

    def __init__(self, logits: Tensor, dims: int = 1):
        self.logits = logits
        super().__init__(logits, dims)

    @property
    def mean(self) -> Tensor:
        """The mean, 1/2 + (coth(l/2) - 2/l) / 2."""
        y = self.logits / 2
        is_small = y.abs() < SERIES_BOUND
        large = torch.where(is_small, 1.0, y)
        small = torch.where(is_small, y, 0.0)
        series = small / 3 - small**3 / 45 + 2 * small**5 / 945 - small**7 / 4725
        return 0.5 + 0.5 * torch.where(is_small, series, 1 / large.tanh() - 1 / large)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Sample by inverting the cumulative distribution function: ln(1 + u (e^l - 1)) / l."""
        logits = self.logits.expand(*sample_shape, *self.logits.shape)
        uniform = torch.rand_like(logits)
        slope = logits.abs().clamp(min=1e-6)
        # a sample for logits -slope, whose density is largest at 0; 1 - x is one for +slope
        x = -torch.log1p(-uniform * -torch.expm1(-slope)) / slope
        return torch.where(logits < 0, x, 1 - x).clamp(0, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute sum_i l_i (x_i - 1/2) - ln(sinh(l_i/2) / (l_i/2))."""
        return self.sum_over_event(self.logits * (value - 0.5) - _log_sinhc(self.logits.abs() / 2))


def _log_sinhc(y: Tensor) -> Tensor:
    """Compute ln(sinh(y) / y) for y >= 0."""
    is_small = y < SERIES_BOUND
    large = torch.where(is_small, 1.0, y)
    small = torch.where(is_small, y, 0.0).square()
    series = small / 6 - small**2 / 180 + small**3 / 2835 - small**4 / 37800
    return torch.where(is_small, series, large + torch.log(-torch.expm1(-2 * large) / (2 * large)))
