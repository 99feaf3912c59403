"""The contract of a prior p(z)."""

from abc import abstractmethod
from collections.abc import Callable

from torch import nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint


class Prior(nn.Module):
    """A distribution over z, possibly learned.

    Attributes:
        support: Where its z lie; the posterior's must be the same.
    """

    support: Constraint

    @abstractmethod
    def forward(self, encode: Callable[..., Distribution]) -> Distribution:
        """p(z) with event shape (latent_dim,); `encode` maps x to q(z|x), for a VampPrior."""
