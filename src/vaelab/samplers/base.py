"""The contract of a sampler: codes for a decoder that is already trained.

The codes that a decoder was trained on follow the aggregate posterior q(z), the mean of q(z|x) over
the training images. Where that is not p(z), the decoder makes better images of codes from a density
fitted to it afterwards. Nothing of the VAE is changed.

Reference: From Variational to Deterministic Autoencoders (Ghosh et al., 2020), section 3,
arXiv:1903.12436
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.vae import VAE


class Sampler:
    """Draws codes z; all its randomness is torch's, which the caller seeds.

    Arguments:
        temperature: 1 is the density itself; the smaller, the nearer to its middle or middles, and
            each sampler says how.

    Attributes:
        fitted: Whether it draws from a density fitted to codes.
    """

    fitted = True

    def __init__(self, temperature: float = 1.0):
        if not 0 <= temperature < math.inf:
            raise ValueError(f"temperature={temperature}: it must be a finite number, not negative")
        self.temperature = temperature

    @property
    def name(self) -> str:
        """The option of sampler= that it is."""
        return type(self).__module__.rpartition(".")[2]

    def prepare(self, vae: VAE) -> None:
        """Called once: refuse a model whose codes it cannot draw, and take what it needs of it."""
        if vae.posterior.support is not constraints.real_vector:
            raise ValueError(
                f"sampler={self.name} fits a density of all real vectors, but the codes of this "
                f"run lie on {vae.posterior.support}: set sampler=prior"
            )

    def fit(self, codes: Tensor) -> None:
        """Take the codes of the training images, (N, latent_dim), one for each.

        Each is a draw of q(z|x) where that is a density, since draws are what the decoder was
        trained on (the means lie closer together, in a dimension that the model does not use all at
        one point), and the point itself where it is deterministic.
        """

    @abstractmethod
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """z (n, latent_dim), of images with labels y where p(z) depends on them."""


class FittedSampler(Sampler):
    """Fits codes that are shifted and scaled to mean 0 and deviation 1 in each dimension."""

    mean: Tensor
    scale: Tensor

    def fit(self, codes: Tensor) -> None:
        if len(codes) < 2 or not torch.isfinite(codes).all():
            raise ValueError(f"the {len(codes)} codes are too few or not finite: train it anew")
        self.mean, self.scale = codes.mean(0), codes.std(0)
        self.scale = torch.where(self.scale > 0, self.scale, 1.0)
        self.learn((codes - self.mean) / self.scale)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        return self.mean + self.scale * self.draw(n).to(self.mean)

    @abstractmethod
    def learn(self, codes: Tensor) -> None:
        """Fit codes (N, latent_dim) of mean 0 and deviation 1."""

    @abstractmethod
    def draw(self, n: int) -> Tensor:
        """Such codes (n, latent_dim)."""


def check_at_least_one(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"sampler.{name}={value}: it must be at least 1")
