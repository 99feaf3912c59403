"""The contract of a posterior q(z|x): what the encoder must give, and the distribution of it."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint


class Posterior(nn.Module):
    """A family of distributions over z, indexed by the encoder's output.

    Attributes:
        inputs: The number of encoder outputs it needs.
        support: Where its z lie; the prior's must be the same.
    """

    inputs: int
    support: Constraint

    @abstractmethod
    def forward(self, out: Tensor) -> Distribution:
        """Encoder output (B, inputs), float32, to q(z|x) with event shape (latent_dim,)."""
