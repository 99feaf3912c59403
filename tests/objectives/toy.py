"""A conjugate toy model with known log p(x): z ~ N(0, 1), x|z ~ N(z, 1/4), x = 1.5."""

import torch
from torch import nn
from torch.distributions import constraints

from vaelab.distributions.normal import DiagonalNormal
from vaelab.objectives.base import importance_terms, sample_with_log_prob

LOG_P = -1.9305103088617774
X = 1.5


class Shift(nn.Module):
    """N(x + shift, diag(exp(log_scale))^2)."""

    outputs, has_density, has_exact_density = 1, True, True
    support = constraints.real_vector

    def __init__(self, shift=0.0, variance=1.0):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([shift], dtype=torch.float64))
        self.log_scale = nn.Parameter(torch.tensor([variance], dtype=torch.float64).log() / 2)

    def forward(self, x):
        return DiagonalNormal(x + self.shift, self.log_scale.expand_as(x))


class Toy(nn.Module):
    """A VAE with q(z|x) = N(mean, variance) for every x; by default q(z|x) is the exact posterior.

    The decoder and the prior are exact, and each has its own parameters.
    """

    shape = (1,)

    def __init__(self, mean=1.2, variance=0.2):
        super().__init__()
        self.encoder, self.prior = Shift(mean, variance), Shift()
        self.decoder = self.likelihood = Shift(variance=0.25)
        self.posterior = Shift()  # only its attributes are used

    def encode(self, x):
        return self.encoder(torch.zeros_like(x))

    def encode_with_frozen_copy(self, x):
        q = self.encode(x)
        return q, DiagonalNormal(q.loc.detach(), q.log_scale.detach())

    def decode(self, z):
        return self.decoder(z)

    def latents(self):
        return self.prior(torch.zeros(1).double())


def images(count):
    """Return images (count, 1), all equal to X."""
    return torch.full((count, 1), X).double()


def log_weights(toy, x, samples):
    """Compute log importance weights (samples, B) of samples of q(z|x), without a gradient."""
    log_p, kl = importance_terms(
        toy, x, *sample_with_log_prob(toy.encode(x), samples), toy.latents()
    )
    return (log_p - kl).detach()
