"""The contract of a sampler, which draws latents for the decoder of a trained model.

The decoder was trained on latents that follow the aggregate posterior q(z), the mean of q(z|x)
over the training images. Where q(z) differs from p(z), the decoder makes better images from
latents of a density that is fitted to q(z) after training. The VAE itself stays unchanged.

Reference: From Variational to Deterministic Autoencoders (Ghosh et al., 2020), section 3,
arXiv:1903.12436
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.runtime.errors import UserError
from vaelab.vae import VAE


class Sampler:
    """A sampler of latents z. It uses torch's global generator, which the caller seeds.

    Arguments:
        temperature: 1 samples from the density itself. Smaller values give samples closer to its
            modes; each sampler documents how. A list has one for each stochastic layer, which only
            sampler=prior accepts.

    Attributes:
        needs_fit: True if the sampler must be fitted to the latents of the training images.

    Raises:
        UserError: If a temperature is negative or not finite, or there is a list of them for a
            sampler without layers.
    """

    needs_fit = True

    accepts_layers = False

    def __init__(self, temperature: float | Sequence[float] = 1.0):
        is_list = isinstance(temperature, Sequence)
        for value in temperature if is_list else [temperature]:
            if not 0 <= value < math.inf:
                raise UserError(f"temperature={value}: it must be a finite number, 0 or more")
        if is_list and not self.accepts_layers:
            raise UserError(
                f"temperature={list(temperature)}: sampler={self.name} has no layers: set "
                "one number"
            )
        self.temperature: Any = list(temperature) if is_list else temperature

    @property
    def name(self) -> str:
        """The name of the sampler's option in the config group `sampler`."""
        return type(self).__module__.rpartition(".")[2]

    def prepare(self, vae: VAE) -> None:
        """Check the model and keep what the sampler needs of it. Called once, before `fit`.

        Raises:
            UserError: If the sampler cannot sample latents for this model.
        """
        if vae.posterior.support is not constraints.real_vector:
            raise UserError(
                f"sampler={self.name} fits a density on real vectors, but the latents of this "
                f"run lie on {vae.posterior.support}: set sampler=prior"
            )

    def fit(self, latents: Tensor) -> None:
        """Fit the density to the latents of the training images.

        If q(z|x) is a density, the latents are one sample of it for each image, because the
        decoder was trained on samples. The means of q(z|x) vary less; in an unused dimension they
        all coincide. If q(z|x) is deterministic, the latents are its points.

        Arguments:
            latents: (N, latent_dim).
        """

    @abstractmethod
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Sample z (n, latent_dim), given labels y (n, ...) of the images if p(z) depends on y."""


class FittedSampler(Sampler):
    """A sampler that standardizes the latents to mean 0 and standard deviation 1 per dimension."""

    mean: Tensor
    scale: Tensor

    def fit(self, latents: Tensor) -> None:
        if not torch.isfinite(latents).all():
            raise UserError(
                f"sampler={self.name} needs latents without NaN or infinity, but only "
                f"{_count_finite(latents)} of {len(latents)} are finite: train the model again"
            )
        least = self.min_latents(latents.shape[-1])
        if len(latents) < least:
            raise UserError(
                f"sampler={self.name} needs at least {least} training images for "
                f"{latents.shape[-1]} latent dimensions, of which there are {len(latents)}; with "
                f"fewer, its samples would be copies: {self.remedy(latents)}"
            )
        self.mean, self.scale = latents.mean(0), latents.std(0)
        self.scale = torch.where(self.scale > 0, self.scale, 1.0)
        self.fit_standardized((latents - self.mean) / self.scale)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        return self.mean + self.scale * self.sample_standardized(n).to(self.mean)

    @abstractmethod
    def min_latents(self, latent_dim: int) -> int:
        """Return the least number of latents that the density can be fitted to."""

    def remedy(self, latents: Tensor) -> str:
        """Return what to do if there are too few latents (N, latent_dim)."""
        return "set sampler=prior"

    @abstractmethod
    def fit_standardized(self, latents: Tensor) -> None:
        """Fit the density to standardized latents (N, latent_dim)."""

    @abstractmethod
    def sample_standardized(self, n: int) -> Tensor:
        """Sample standardized latents (n, latent_dim)."""


def _count_finite(latents: Tensor) -> int:
    """Count the latents (N, latent_dim) without NaN or infinity."""
    return int(torch.isfinite(latents).all(-1).sum())


def check_at_least_one(**settings: int) -> None:
    """Raise a ValueError that names the first sampler setting below 1."""
    for name, value in settings.items():
        if value < 1:
            raise UserError(f"sampler.{name}={value}: it must be at least 1")
