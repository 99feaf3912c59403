"""The continuous Bernoulli distribution, a density on [0, 1]."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.base import Factorised

SMALL = 0.25  # below it the series is exact to 1e-9, and the closed forms lose digits


class IndependentContinuousBernoulli(Factorised):
    """p(x) = exp(l (x - 1/2)) (l/2) / sinh(l/2) for x in [0, 1], with l = `logits`.

    It is C(s(l)) s(l)^x (1 - s(l))^(1-x), s the logistic function; in logits nothing saturates.
    torch.distributions.ContinuousBernoulli computes it from s(l), which float32 rounds to 1 at 17.
    """

    support: Any = constraints.unit_interval

    def __init__(self, logits: Tensor, dims: int = 1):
        self.logits = logits
        super().__init__(logits, dims)

    @property
    def mean(self) -> Tensor:
        """1/2 + (coth(l/2) - 2/l) / 2."""
        y = self.logits / 2
        small = y.abs() < SMALL
        far = torch.where(small, 1.0, y)
        near = torch.where(small, y, 0.0)
        series = near / 3 - near**3 / 45 + 2 * near**5 / 945 - near**7 / 4725
        return 0.5 + 0.5 * torch.where(small, series, 1 / far.tanh() - 1 / far)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """By the inverse of the distribution function, ln(1 + u (e^l - 1)) / l."""
        logits = self.logits.expand(*sample_shape, *self.logits.shape)
        uniform = torch.rand_like(logits)
        steep = logits.abs().clamp(min=1e-6)
        # of 1 - x for l = -steep, where the mass lies near x = 0
        x = -torch.log1p(-uniform * -torch.expm1(-steep)) / steep
        return torch.where(logits < 0, x, 1 - x).clamp(0, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Sum of l (x - 1/2) - ln(sinh(l/2) / (l/2))."""
        return self.total(self.logits * (value - 0.5) - _log_sinhc(self.logits.abs() / 2))


def _log_sinhc(y: Tensor) -> Tensor:
    """ln(sinh(y) / y) for y >= 0."""
    small = y < SMALL
    far = torch.where(small, 1.0, y)
    near = torch.where(small, y, 0.0).square()
    series = near / 6 - near**2 / 180 + near**3 / 2835 - near**4 / 37800
    return torch.where(small, series, far + torch.log(-torch.expm1(-2 * far) / (2 * far)))
