"""The categorical distribution over the 256 levels 0, 1/255, ..., 1 of a pixel."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.base import FactorizedDistribution

NUM_LEVELS = 256


class IndependentCategorical(FactorizedDistribution):
    """Independent categorical variables over 256 levels, P(x_i = v/255) = softmax(logits_i)_v.

    Arguments:
        logits: (*batch, C, 256, *positions); the event is (C, *positions).
        dims: The number of event dimensions.
    """

    support: Any = constraints.unit_interval

    def __init__(self, logits: Tensor, dims: int = 3):
        self.logits, self.dims = logits, dims
        super().__init__(logits.select(-dims, 0), dims)

    @property
    def mean(self) -> Tensor:
        values = torch.linspace(0, 1, NUM_LEVELS).to(self.logits)
        return torch.tensordot(self.logits.movedim(-self.dims, -1).softmax(-1), values, 1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        logits = self.logits.movedim(-self.dims, -1)
        levels = torch.distributions.Categorical(logits=logits).sample(sample_shape)
        return levels.to(logits) / (NUM_LEVELS - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute sum_i log P(x_i), each x_i rounded to the nearest level."""
        level = (value * (NUM_LEVELS - 1)).round().long().unsqueeze(-self.dims)
        batch = torch.broadcast_shapes(
            self.logits.shape[: -self.dims - 1], level.shape[: -self.dims - 1]
        )
        logits = self.logits.expand(*batch, *self.logits.shape[-self.dims - 1 :])
        level = level.expand(*batch, *level.shape[-self.dims - 1 :])
        log_p = logits.gather(-self.dims, level) - logits.logsumexp(-self.dims, keepdim=True)
        return self.sum_over_event(log_p.squeeze(-self.dims))
