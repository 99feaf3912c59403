"""The Bernoulli distribution, whose values may lie between 0 and 1 too."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import binary_cross_entropy_with_logits

from vaelab.distributions.base import Factorised


class IndependentBernoulli(Factorised):
    """Independent bits; `logits` (*, *event), the event being their last `dims` dimensions."""

    support: Any = constraints.unit_interval

    def __init__(self, logits: Tensor, dims: int = 1):
        self.logits = logits
        super().__init__(logits, dims)

    @property
    def mean(self) -> Tensor:
        return self.logits.sigmoid()

    @property
    def variance(self) -> Tensor:
        return self.mean * (1 - self.mean)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return torch.bernoulli(self.mean.expand(*sample_shape, *self.logits.shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Sum of x ln s(logits) + (1 - x) ln(1 - s(logits)), s the logistic function."""
        logits, value = torch.broadcast_tensors(self.logits, value)
        entropy = binary_cross_entropy_with_logits(logits, value, reduction="none")
        return -self.total(entropy)
