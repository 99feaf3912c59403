"""The contract of a prior p(z)."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from vaelab.posteriors.base import Posterior


class Prior(nn.Module):
    """A distribution over z, possibly learned.

    Arguments:
        latent_dim: The number of latent dimensions.
        shape: Of one x, for a prior that holds some.

    Attributes:
        support: Where its z lie; the posterior's must be the same. None is a mixture of posteriors,
            which takes theirs.
    """

    support: Constraint | None

    def __init__(self, latent_dim: int, shape: Sequence[int]):
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = tuple(shape)

    def prepare(self, posterior: Posterior) -> None:
        """Called once: refuse a posterior that it cannot go with, and build what depends on it."""

    def check_encoder(self, encoder: nn.Module) -> None:
        """Called once: refuse an encoder that it cannot use."""

    @abstractmethod
    def forward(self, encode: Callable[..., Distribution]) -> Distribution:
        """p(z) with event shape (latent_dim,); `encode` maps x to q(z|x), for a VampPrior.

        A prior over the indices of codes gives p(c), event (n,), which the posterior embeds.
        """

    def initialize(self, x: Tensor) -> None:
        """Start from images x (N, *shape)."""


def check_at_least_one(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"prior.{name}={value}: it must be at least 1")
