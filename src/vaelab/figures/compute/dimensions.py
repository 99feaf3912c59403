"""The latent dimensions of a model, and the KL of each."""

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.data.base import DataModule, Split
from vaelab.distributions.codebook import codebook_constraint
from vaelab.distributions.layers import HierarchicalNormal
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.one_hot import OneHotAndNormal, OneHotConstraint
from vaelab.figures.compute.base import (
    MAX_IMAGES,
    EncodedImages,
    evaluation_mode,
    iterate_posteriors,
    select_evenly_spaced,
)
from vaelab.figures.draw.style import format_latent_symbol
from vaelab.metrics.latents import KLPerDimension
from vaelab.objectives.base import sample_with_kl
from vaelab.vae import VAE


class LatentDimension(NamedTuple):
    """A real number in z, or a categorical variable, whose one-hot vector has several entries.

    Attributes:
        name: Such as z1, z1.2 (of a layer), z3.1.7 (of a grid) or c1 (categorical).
        indices: Its entries of z.
        kl: Its mean KL in nats; None if only the KL of the whole z is known.
        variance: The variance over images of the modes of q(z|x).
    """

    name: str
    indices: range
    kl: float | None
    variance: float

    @property
    def activity(self) -> float:
        """The number by which dimensions are ranked."""
        return self.variance if self.kl is None else self.kl

    @property
    def label(self) -> str:
        number = f"var {self.variance:.2f}" if self.kl is None else f"{self.kl:.2f} nats"
        return f"{format_latent_symbol(self.name)}   {number}"


def rank_dimensions(
    vae: VAE, encoded: EncodedImages, kl: Mapping[str, float]
) -> list[LatentDimension]:
    """Return all dimensions, the most active first: by KL, or by variance if the KL is unknown.

    Arguments:
        kl: Nats by the name of the dimension; empty if unknown.
    """
    dimensions = []
    for name, indices in get_dimension_indices(vae).items():
        variance = encoded.modes[:, indices].var(0, correction=0).sum().item()
        dimensions.append(LatentDimension(name, indices, kl.get(name), variance))
    return sorted(dimensions, key=lambda dimension: -dimension.activity)


def get_dimension_indices(vae: VAE) -> dict[str, range]:
    """Return the entries of z of each dimension, by its name.

    Real dimensions are named z1, z2, ...; with several stochastic layers z1.1, z1.2, ..., the layer
    first; with a grid z1.1.1, z2.1.1, ...: channel, row and column. Categorical variables are named
    c1, c2, ... Vectors of a codebook have no dimensions.
    """
    support, size = vae.posterior.support, vae.latent_dim
    if support is codebook_constraint:
        return {}
    if isinstance(support, OneHotConstraint):
        variables, step, _ = support.sizes
        starts = range(0, variables * step, step)
        categorical = {f"c{i}": range(start, start + step) for i, start in enumerate(starts, 1)}
        rest = range(variables * step, size)
        return categorical | {f"z{i}": range(index, index + 1) for i, index in enumerate(rest, 1)}
    names = [f"z{i}" for i in range(1, size + 1)]
    if len(vae.latent_shape) > 1:
        channels, *grid = (range(1, edge + 1) for edge in vae.latent_shape)
        names = ["z" + ".".join(map(str, (c, *at))) for *at, c in product(*grid, channels)]
    if vae.layered:
        p: Any = vae.latents()
        sizes = [part.shape[-1] for part in p.split_layers(p.zeros)]
        names = [f"z{layer}.{i + 1}" for layer, d in enumerate(sizes, 1) for i in range(d)]
    return {name: range(index, index + 1) for index, name in enumerate(names)}


def compute_kl_per_dimension(vae: VAE, data: DataModule, split: Split) -> dict[str, float]:
    """Compute the KL of each dimension in nats, by its name, as a mean over at most MAX_IMAGES.

    The KL of several stochastic layers is estimated from one sample for each image; other KLs are
    exact. The result is empty if only the KL of the whole z is known. In distributed training a
    single process may call it.
    """
    metric = None
    with evaluation_mode(vae):
        subset = select_evenly_spaced(split, MAX_IMAGES)
        for model, q in iterate_posteriors(vae, data, subset):
            kl = _compute_kl(q, model.latents()) if vae.posterior.has_density else None
            if kl is None:
                return {}
            metric = metric or KLPerDimension(kl.shape[-1], sync_on_compute=False).to(kl.device)
            metric.update(kl)
    if metric is None:
        return {}
    means = metric.compute().reshape(-1)  # torchmetrics squeezes a vector of one element
    return dict(zip(get_dimension_indices(vae), means.tolist(), strict=True))


def _compute_kl(q: Distribution, p: Distribution) -> Tensor | None:
    """Return the KL of each dimension (B, dimensions), None if it is unknown."""
    if isinstance(q, HierarchicalNormal) and isinstance(p, HierarchicalNormal):
        return _compute_log_ratio(q, p)
    z, kl = sample_with_kl(q, p)
    return kl if kl.shape == z.shape or isinstance(q, OneHotAndNormal) else None


def _compute_log_ratio(q: HierarchicalNormal, p: HierarchicalNormal) -> Tensor:
    """Return log q(z_d|...) - log p(z_d|...) (B, D) of one sample z ~ q(z|x).

    Each density is conditioned on the layers that its layer depends on.
    """
    sampled = q.run_layers(torch.Size(), None, DiagonalNormal.rsample)
    prior = p.run_layers(sampled.z.shape[:1], sampled.z, DiagonalNormal.rsample)
    layers = zip(sampled.layers, prior.layers, q.split_layers(sampled.z), strict=True)
    return torch.cat(
        [
            _compute_unnormalized_log_density(q_layer, z)
            - _compute_unnormalized_log_density(p_layer, z)
            for q_layer, p_layer, z in layers
        ],
        -1,
    )


def _compute_unnormalized_log_density(p: DiagonalNormal, z: Tensor) -> Tensor:
    """Return log p(z_d) of each dimension without the constant -log(2 pi) / 2."""
    return -0.5 * ((z - p.loc) / p.scale).square() - p.log_scale
