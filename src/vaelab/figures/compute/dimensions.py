"""The dimensions of z and what each of them costs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.data.base import DataModule, Split
from vaelab.distributions.codebook import codes_constraint as of_codebook
from vaelab.distributions.layers import Layers
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.one_hot import OneHotBlocks, OneHots
from vaelab.figures.compute.base import (
    IMAGES,
    EncodedImages,
    evaluation_mode,
    iterate_posteriors,
    spread_subset,
)
from vaelab.figures.draw.style import latent_symbol
from vaelab.metrics.latents import KLPerDimension
from vaelab.objectives.base import sample_with_kl
from vaelab.vae import VAE


class Dimension(NamedTuple):
    """A number of z, or a categorical variable, which has several places in z.

    Attributes:
        nats: Its KL, None where that is not known.
        variance: Of its likeliest values.
    """

    name: str
    places: range
    nats: float | None
    variance: float

    @property
    def activity(self) -> float:
        return self.variance if self.nats is None else self.nats

    @property
    def label(self) -> str:
        cost = f"var {self.variance:.2f}" if self.nats is None else f"{self.nats:.2f} nats"
        return f"{latent_symbol(self.name)}   {cost}"


def rank_dimensions(vae: VAE, codes: EncodedImages, kl: Mapping[str, float]) -> list[Dimension]:
    """The most active first: by their KL, or where that is not known by their variance."""
    found = []
    for name, places in dimension_places(vae).items():
        variance = codes.likeliest[:, places].var(0, correction=0).sum().item()
        found.append(Dimension(name, places, kl.get(name), variance))
    return sorted(found, key=lambda each: -each.activity)


def dimension_places(vae: VAE) -> dict[str, range]:
    """The places in z of each dimension.

    Numbers are z1, z2, ...; those of several layers z1.1, z1.2, ..., the layer first. Categorical
    variables are c1, c2, ... Vectors of a codebook have no dimensions.
    """
    support, size = vae.posterior.support, vae.latent_dim
    if support is of_codebook:
        return {}
    if isinstance(support, OneHotBlocks):
        variables, step, _ = support.sizes
        starts = range(0, variables * step, step)
        found = {f"c{i}": range(start, start + step) for i, start in enumerate(starts, 1)}
        rest = range(variables * step, size)
        return found | {f"z{i}": range(at, at + 1) for i, at in enumerate(rest, 1)}
    numbers = [f"z{i}" for i in range(1, size + 1)]
    if vae.layered:
        layers: Any = vae.latents()
        sizes = [part.shape[-1] for part in layers.parts(layers.zeros)]
        numbers = [f"z{layer}.{i + 1}" for layer, d in enumerate(sizes, 1) for i in range(d)]
    return {name: range(at, at + 1) for at, name in enumerate(numbers)}


def kl_by_dimension(vae: VAE, data: DataModule, split: Split) -> dict[str, float]:
    """Nats of each dimension by its name in `named`; empty where only the KL of all z is known.

    The mean over at most IMAGES of a split; of several stochastic layers an estimate. One process
    of several can ask for it.
    """
    metric = None
    with evaluation_mode(vae):
        for model, q in iterate_posteriors(vae, data, spread_subset(split, IMAGES)):
            kl = _kl(q, model.latents()) if vae.posterior.density else None
            if kl is None:
                return {}
            metric = metric or KLPerDimension(kl.shape[-1], sync_on_compute=False).to(kl.device)
            metric.update(kl)
    if metric is None:
        return {}
    means = metric.compute().reshape(-1)  # which torchmetrics has squeezed if there is one
    return dict(zip(dimension_places(vae), means.tolist(), strict=True))


def _kl(q: Distribution, p: Distribution) -> Tensor | None:
    """Of each dimension (B, dimensions), None where it is not known."""
    if isinstance(q, Layers) and isinstance(p, Layers):
        return _log_ratio(q, p)
    z, kl = sample_with_kl(q, p)
    return kl if kl.shape == z.shape or isinstance(q, OneHots) else None


def _log_ratio(q: Layers, p: Layers) -> Tensor:
    """log q(z_d|...) - log p(z_d|...) (B, D) at a draw of q, each given what its layer is given."""
    drawn = q.walk(torch.Size(), None, DiagonalNormal.rsample)
    given = p.walk(drawn.z.shape[:1], drawn.z, DiagonalNormal.rsample)
    both = zip(drawn.layers, given.layers, q.parts(drawn.z), strict=True)
    return torch.cat([_log_density(a, z) - _log_density(b, z) for a, b, z in both], -1)


def _log_density(p: DiagonalNormal, z: Tensor) -> Tensor:
    """Of each dimension, but for a constant."""
    return -0.5 * ((z - p.loc) / p.scale).square() - p.log_scale
