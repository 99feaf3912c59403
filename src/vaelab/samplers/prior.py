"""Sampling from the model's prior: `sampler=prior`."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, MultivariateNormal

from vaelab.distributions.layers import HierarchicalNormal, LayerPass, LayerSampler
from vaelab.distributions.mixture import make_mixture
from vaelab.distributions.normal import DiagonalNormal
from vaelab.objectives.base import sample_prior
from vaelab.priors.flow_matching import FlowMatching
from vaelab.runtime.errors import UserError
from vaelab.samplers.base import Sampler
from vaelab.vae import VAE


class PriorSampler(Sampler):
    """Samples z ~ p(z), or p(z|y) if the prior depends on labels. It is not fitted.

    The temperature multiplies the standard deviations of a normal prior, of each component of a
    mixture or VampPrior with normal components, and of each stochastic layer. Other priors only
    accept temperature=1. With several stochastic layers, a list has a temperature for each of them,
    in the order in which p(z) samples them (from the top).

    Arguments:
        guidance: The weight of the label, for a prior with prior.classes; None for that of the run.
        ode_steps: The number of steps of the ODE of prior=flow_matching or diffusion; None for that
            of the run.
    """

    needs_fit = False
    accepts_layers = True
    vae: VAE
    flow: FlowMatching | None

    def __init__(
        self,
        temperature: float | list[float] = 1.0,
        guidance: float | None = None,
        ode_steps: int | None = None,
    ):
        super().__init__(temperature)
        self.guidance, self.ode_steps = guidance, ode_steps

    @torch.no_grad()
    def prepare(self, vae: VAE) -> None:
        self.vae, self.flow = vae, None
        if isinstance(vae.prior, FlowMatching):
            self.flow = vae.prior.configure_sampling(self.guidance, self.ode_steps)
        elif (self.guidance, self.ode_steps) != (None, None):
            raise UserError(
                f"sampler.guidance and sampler.ode_steps are for prior=flow_matching and "
                f"prior=diffusion, but the prior of this run is {type(vae.prior).__name__}: leave "
                "them out"
            )
        self.tempered_prior()  # raises a ValueError if the prior accepts no temperature

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        return sample_prior(self.tempered_prior(y), n)

    def tempered_prior(self, y: Tensor | None = None) -> Distribution:
        """Return p(z), or p(z|y) for labels y, at the temperature of the sampler."""
        if self.flow is not None:
            p = self.flow(self.vae.encode) if y is None else self.flow.condition_on(y)
        else:
            p = (self.vae if y is None else self.vae.condition_on(y)).latents()
        return p if self.temperature == 1 else _apply_temperature(p, self.temperature)


def _apply_temperature(p: Distribution, temperature: float | list[float]) -> Distribution:
    """Return p with all standard deviations multiplied by the temperature, or by one per layer.

    Raises:
        UserError: If p has no standard deviations, or not one layer for each temperature.
    """
    if isinstance(p, HierarchicalNormal):
        return _temper_layers(p, temperature)
    if isinstance(temperature, list):
        raise UserError(
            f"temperature={temperature}: the prior of this run has one layer only: set one number"
        )
    if isinstance(p, DiagonalNormal):
        return _scale_normal(p, temperature)
    if isinstance(p, MultivariateNormal):
        root = temperature * p.scale_tril
        return MultivariateNormal(p.loc, scale_tril=root, validate_args=False)
    if isinstance(p, MixtureSameFamily):
        weights: Any = p.mixture_distribution
        components = _apply_temperature(p.component_distribution, temperature)
        return make_mixture(weights.logits, components)
    raise UserError(
        f"temperature={temperature}: sampler=prior multiplies the standard deviations of normals, "
        f"and {type(p).__name__} has none: leave it at 1, or set another sampler="
    )


def _temper_layers(p: HierarchicalNormal, temperature: float | list[float]) -> HierarchicalNormal:
    """Return p with the standard deviations of each layer multiplied by its temperature."""
    layers = len(p.split_layers(p.zeros))
    temperatures = temperature if isinstance(temperature, list) else [temperature] * layers
    if len(temperatures) != layers:
        raise UserError(
            f"temperature={temperature} has {len(temperatures)} numbers, but the model has "
            f"{layers} layers: give one number for each, from the top, or one for all"
        )

    def run_layers(size: torch.Size, z: Tensor | None, sample_layer: LayerSampler) -> LayerPass:
        remaining = iter(temperatures)
        return p.run_layers(
            size, z, lambda layer: sample_layer(_scale_normal(layer, next(remaining)))
        )

    return HierarchicalNormal(run_layers, p.split_layers, p.zeros)


def _scale_normal(p: DiagonalNormal, temperature: float) -> DiagonalNormal:
    """Return p with its standard deviations multiplied by the temperature."""
    log_temperature = math.log(temperature) if temperature else -math.inf
    return DiagonalNormal(p.loc, p.log_scale + log_temperature)
