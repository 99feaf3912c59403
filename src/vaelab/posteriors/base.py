"""The contract of a posterior q(z|x): what the encoder must give, and the distribution of it."""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from vaelab.distributions.normal import DiagonalNormal


class Posterior(nn.Module):
    """A family of distributions over z, indexed by the encoder's output.

    Attributes:
        inputs: The number of encoder outputs it needs.
        support: Where its z lie; the prior's must be the same.
        density: Whether it has one, so that there is a KL and a bound on log p(x).
        exact_density: Whether the density of any z is as exact as that of its own draws.
        relaxed: Whether its draws in training are only like those that it gives a density to.
        random: Whether two draws differ; where they do not, evaluation makes one.
    """

    inputs: int
    support: Constraint
    density = True
    exact_density = True
    relaxed = False
    random = True

    def anneal(self, step: int) -> None:
        """Told the optimizer step before each step of training."""

    @abstractmethod
    def forward(self, out: Tensor) -> Distribution:
        """Encoder output (B, inputs), float32, to q(z|x) with event shape (latent_dim,)."""

    def prior_on_z(self, p: Distribution) -> Distribution:
        """What the prior gives to p(z): itself, but codes for a prior over their indices."""
        return p

    def initialize(self, out: Tensor) -> None:
        """Start from encoder outputs (N, inputs) of training images."""


def diagonal_normal(mean: Tensor, raw: Tensor, bound: float) -> DiagonalNormal:
    """N(mean, diag(s^2)) with log s = bound * tanh(raw / bound).

    The bound keeps s and 1/s finite for every encoder output, where an unbounded exponential
    overflows; far from it the map is the identity.
    """
    return DiagonalNormal(mean, bound * torch.tanh(raw / bound))


def check_bound(bound: float) -> None:
    if not 0 < bound <= 10:
        raise ValueError(f"posterior.bound={bound}: float32 has room for a bound in (0, 10]")


def check_count(key: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"posterior.{key}={count}: it must be at least 1")
