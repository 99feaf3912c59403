"""The logistic distribution, cut into the 256 levels 0, 1/255, ..., 1."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid, softplus

from vaelab.distributions.base import Factorised

STEP = 1 / 255


class IndependentDiscretizedLogistic(Factorised):
    """P(x) = s((x + STEP/2 - loc) / scale) - s((x - STEP/2 - loc) / scale).

    s is the logistic function. The first and the last level have all that lies beyond them too.

    Arguments:
        loc: (*, *event), in units of the whole range.
        scale: What broadcasts to the shape of loc.
    """

    support: Any = constraints.unit_interval

    def __init__(self, loc: Tensor, scale: Tensor, dims: int = 1):
        self.loc, self.scale = loc, scale
        super().__init__(loc, dims)

    @property
    def mean(self) -> Tensor:
        return clipped_mean(self.loc, self.scale)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return sample_levels(self.loc.expand(*sample_shape, *self.loc.shape), self.scale)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.total(log_mass(value, self.loc, self.scale))


def log_mass(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log P(x) of every element, exact and with a gradient everywhere.

    s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)) for a < b, in logarithms without cancellation.
    """
    width = STEP / scale
    middle = (x - loc) / scale
    below, above = logsigmoid(middle + width / 2), logsigmoid(width / 2 - middle)
    between = below + above + torch.log(-torch.expm1(-width))
    return torch.where(x < STEP / 2, below, torch.where(x > 1 - STEP / 2, above, between))


def clipped_mean(loc: Tensor, scale: Tensor) -> Tensor:
    """The mean of a logistic variable clipped to [0, 1]: that of P to within half a level.

    The integral from 0 to 1 of s((loc - t) / scale) dt.
    """
    return scale * (softplus(loc / scale) - softplus((loc - 1) / scale))


def sample_levels(loc: Tensor, scale: Tensor) -> Tensor:
    """A level for every element of loc."""
    uniform = torch.rand_like(loc).clamp(min=torch.finfo(loc.dtype).tiny)
    x = loc + scale * (uniform.log() - torch.log1p(-uniform))
    return (x / STEP).round().clamp(0, 255) * STEP
