"""The categorical distribution over 256 levels of every element."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

LEVELS = 256


class Levels(Distribution):
    """P(x_i = v/255) = softmax(logits_i)_v.

    Arguments:
        logits: (*, C, 256, *places), the event (C, *places) having `dims` dimensions.
    """

    support: Any = constraints.unit_interval

    def __init__(self, logits: Tensor, dims: int = 3):
        self.logits, self.dims = logits, dims
        cut = logits.ndim - dims - 1
        event = torch.Size((logits.shape[cut], *logits.shape[cut + 2 :]))
        super().__init__(logits.shape[:cut], event, validate_args=False)

    @property
    def mean(self) -> Tensor:
        values = torch.linspace(0, 1, LEVELS).to(self.logits)
        return torch.tensordot(self.logits.movedim(-self.dims, -1).softmax(-1), values, 1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        logits = self.logits.movedim(-self.dims, -1)
        drawn = torch.distributions.Categorical(logits=logits).sample(sample_shape)
        return drawn.to(logits) / (LEVELS - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        level = (value * (LEVELS - 1)).round().long().unsqueeze(-self.dims)
        batch = torch.broadcast_shapes(
            self.logits.shape[: -self.dims - 1], level.shape[: -self.dims - 1]
        )
        logits = self.logits.expand(*batch, *self.logits.shape[-self.dims - 1 :])
        level = level.expand(*batch, *level.shape[-self.dims - 1 :])
        log_p = logits.gather(-self.dims, level) - logits.logsumexp(-self.dims, keepdim=True)
        return log_p.flatten(len(batch)).sum(-1)
