"""The logistic distribution, discretized to the 256 levels 0, 1/255, ..., 1."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid, softplus

from vaelab.distributions.base import FactorizedDistribution

STEP = 1 / 255  # the distance between two levels


class IndependentDiscretizedLogistic(FactorizedDistribution):
    """Independent logistic variables, rounded to the nearest level.

    P(x) = s((x + STEP/2 - loc) / scale) - s((x - STEP/2 - loc) / scale), where s is the sigmoid.
    The first and the last level also include the probability mass below 0 and above 1.

    Arguments:
        loc: (*batch, *event); the levels range from 0 to 1.
        scale: The scale of the logistic distribution, broadcastable to the shape of loc.
        dims: The number of event dimensions, counted from the last.
    """

    support: Any = constraints.unit_interval

    def __init__(self, loc: Tensor, scale: Tensor, dims: int = 1):
        self.loc, self.scale = loc, scale
        super().__init__(loc, dims)

    @property
    def mean(self) -> Tensor:
        """The mean of the clipped logistic variable, see `clipped_mean`."""
        return clipped_mean(self.loc, self.scale)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return sample_levels(self.loc.expand(*sample_shape, *self.loc.shape), self.scale)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.sum_over_event(log_mass(value, self.loc, self.scale))


def log_mass(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Compute log P(x) of every element.

    The logarithm of s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)), a < b, is computed term by term.
    It is accurate, and its gradient does not vanish, even where P(x) underflows.

    Arguments:
        x: Levels 0, 1/255, ..., 1; shape (*).
        loc, scale: Broadcastable to (*).
    """
    width = STEP / scale
    middle = (x - loc) / scale
    below, above = logsigmoid(middle + width / 2), logsigmoid(width / 2 - middle)
    between = below + above + torch.log(-torch.expm1(-width))
    return torch.where(x < STEP / 2, below, torch.where(x > 1 - STEP / 2, above, between))


def clipped_mean(loc: Tensor, scale: Tensor) -> Tensor:
    """Compute the mean of a logistic variable clipped to [0, 1].

    It is the integral of s((loc - t) / scale) for t from 0 to 1, and differs from the mean of the
    discretized distribution by at most half a level.
    """
    return scale * (softplus(loc / scale) - softplus((loc - 1) / scale))


def sample_levels(loc: Tensor, scale: Tensor) -> Tensor:
    """Sample a level 0, 1/255, ..., 1 for every element of loc."""
    uniform = torch.rand_like(loc).clamp(min=torch.finfo(loc.dtype).tiny)
    x = loc + scale * (uniform.log() - torch.log1p(-uniform))
    return (x / STEP).round().clamp(0, 255) * STEP
