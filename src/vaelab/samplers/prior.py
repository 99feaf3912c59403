"""The prior itself: `sampler=prior`."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, MultivariateNormal

from vaelab.distributions.layers import LayerPass, Layers, Pick
from vaelab.distributions.mixture import make_mixture
from vaelab.distributions.normal import DiagonalNormal
from vaelab.objectives.base import sample_prior as draws
from vaelab.samplers.base import Sampler
from vaelab.vae import VAE


class PriorSampler(Sampler):
    """z ~ p(z); it needs no codes.

    The temperature T multiplies the standard deviations of a normal, and of every component of a
    mixture or of a VampPrior whose components are normal, and of every stochastic layer; other
    priors have none.
    """

    fitted = False
    vae: VAE

    @torch.no_grad()
    def prepare(self, vae: VAE) -> None:
        self.vae = vae
        self.density()  # refuses a temperature that it has no use for

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        return draws(self.density(y), n)

    def density(self, y: Tensor | None = None) -> Distribution:
        """p(z), or p(z|y), at the temperature."""
        p = (self.vae if y is None else self.vae.condition_on(y)).latents()
        return p if self.temperature == 1 else _tempered(p, self.temperature)


def _tempered(p: Distribution, temperature: float) -> Distribution:
    """p with its standard deviations multiplied."""
    if isinstance(p, DiagonalNormal):
        return _narrowed(p, temperature)
    if isinstance(p, MultivariateNormal):
        root = temperature * p.scale_tril
        return MultivariateNormal(p.loc, scale_tril=root, validate_args=False)
    if isinstance(p, MixtureSameFamily):
        weights: Any = p.mixture_distribution
        return make_mixture(weights.logits, _tempered(p.component_distribution, temperature))
    if isinstance(p, Layers):

        def walk(size: torch.Size, z: Tensor | None, pick: Pick) -> LayerPass:
            return p.walk(size, z, lambda layer: pick(_narrowed(layer, temperature)))

        return Layers(walk, p.parts, p.zeros)
    raise ValueError(
        f"temperature={temperature}: sampler=prior multiplies the standard deviations of normals, "
        f"and {type(p).__name__} has none: leave it at 1, or set another sampler="
    )


def _narrowed(p: DiagonalNormal, temperature: float) -> DiagonalNormal:
    log = math.log(temperature) if temperature else -math.inf
    return DiagonalNormal(p.loc, p.log_scale + log)
