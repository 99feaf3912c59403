"""The contract of a posterior q(z|x): the encoder outputs it needs and its distribution."""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from vaelab.distributions.normal import DiagonalNormal
from vaelab.runtime.errors import UserError


class Posterior(nn.Module):
    """A family of distributions over z that is parameterized by the encoder output.

    Attributes:
        inputs: The number of encoder outputs that the family needs.
        support: The set of possible z. The prior must have the same support.
        has_density: True if q(z|x) has a density or a probability, so that a KL divergence and a
            bound on log p(x) exist.
        has_exact_density: True if the density of any z is as accurate as that of a sample of q.
        is_relaxed: True if samples in training are continuous relaxations, which lie outside the
            support of the density.
        is_random: True if samples of one q(z|x) differ. If not, evaluation takes a single sample.
        decoder_inputs: The length of what the decoder gets of z, see `embed`; None is latent_dim.
    """

    inputs: int
    decoder_inputs: int | None = None
    support: Constraint
    has_density = True
    has_exact_density = True
    is_relaxed = False
    is_random = True

    def anneal(self, step: int) -> None:
        """Set the values that depend on the optimizer step; called before each training step.

        Arguments:
            step: The number of optimizer steps taken.
        """

    @abstractmethod
    def forward(self, out: Tensor) -> Distribution:
        """Return q(z|x) with event shape (latent_dim,).

        Arguments:
            out: Encoder output (B, inputs) in float32.
        """

    def prior_on_z(self, p: Distribution) -> Distribution:
        """Return p(z) for the distribution p that the prior returned.

        By default p is p(z). A posterior with a codebook turns a prior over indices into p(z).
        """
        return p

    def embed(self, z: Tensor) -> Tensor:
        """Return what the decoder gets of latents z (*, latent_dim): (*, decoder_inputs)."""
        return z

    def initialize(self, out: Tensor) -> None:
        """Initialize the state from encoder outputs (N, inputs) of training images."""


def diagonal_normal(mean: Tensor, raw: Tensor, bound: float) -> DiagonalNormal:
    """Return N(mean, diag(s^2)) with log s = bound * tanh(raw / bound).

    The bound keeps s and 1/s finite for every encoder output, whereas an unbounded exponential
    overflows. For |raw| much smaller than the bound, log s is approximately raw.

    Arguments:
        mean, raw: (*, D).
        bound: The largest |log s|.
    """
    return DiagonalNormal(mean, bound * torch.tanh(raw / bound))


def check_bound(bound: float) -> None:
    """Raise a ValueError unless 0 < bound <= 10."""
    if not 0 < bound <= 10:
        raise UserError(
            f"posterior.bound={bound}: it must lie in (0, 10] to avoid overflow in float32"
        )


def check_count(key: str, count: int) -> None:
    """Raise a ValueError for the setting posterior.<key> unless count is at least 1."""
    if count < 1:
        raise UserError(f"posterior.{key}={count}: it must be at least 1")
