"""The Bernoulli distribution, extended to values between 0 and 1."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import binary_cross_entropy_with_logits

from vaelab.distributions.base import FactorizedDistribution


class IndependentBernoulli(FactorizedDistribution):
    """Independent Bernoulli variables.

    `log_prob` also accepts values between 0 and 1 and then returns the negative binary
    cross-entropy, which is not a log probability.

    Arguments:
        logits: (*batch, *event).
        dims: The number of event dimensions, counted from the last.
    """

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
        """Compute sum_i x_i ln s(logits_i) + (1 - x_i) ln(1 - s(logits_i)), s the sigmoid."""
        return self.sum_over_event(self.entry_log_prob(value))

    def entry_log_prob(self, value: Tensor) -> Tensor:
        """Compute the term of each entry of `log_prob`."""
        logits, value = torch.broadcast_tensors(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")
