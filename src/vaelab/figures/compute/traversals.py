"""Latent traversals: images decoded while one latent dimension of an image changes."""

from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vaelab.data.base import DataModule
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.sphere import sphere_constraint
from vaelab.figures.compute.base import (
    EncodedImages,
    FigureNotApplicable,
    check_displayable,
    decode_latents,
    evaluation_mode,
    sample_prior_latents,
)
from vaelab.figures.compute.dimensions import LatentDimension
from vaelab.vae import VAE

MAX_ROWS = 10
MAX_STANDARD_DEVIATIONS = 3.0  # on both sides of the mean
COLUMNS = 13
SPHERE_COLUMNS = 9


class Traversals(NamedTuple):
    """Images decoded at C values of each of R dimensions, the most active dimension first.

    Attributes:
        images: (R, C, channels, H, W).
        labels: The names of the dimensions.
        values: The values that a dimension takes, (C,), in `unit`.
        original: The value of each dimension in the latent vector of the image, (R,), in `unit`.
        unit: The unit of the values.
    """

    images: Tensor
    labels: list[str]
    values: Tensor
    original: Tensor
    unit: str


def compute_traversals(
    vae: VAE, data: DataModule, encoded: EncodedImages, dimensions: Sequence[LatentDimension]
) -> Traversals:
    """Traverse the most active dimensions of the latent vector of the first image.

    Each row changes one dimension and keeps the others. On the sphere the others are rescaled to
    keep |z| = 1. With several stochastic layers, the layers that p samples after that of the
    dimension are set to their conditional means. Categorical variables are not traversed.

    Raises:
        FigureNotApplicable: If there is no real dimension, or x cannot be shown as an image.
    """
    check_displayable(data)
    traversed = [dimension for dimension in dimensions if len(dimension.indices) == 1][:MAX_ROWS]
    if not traversed:
        raise FigureNotApplicable(f"{vae.posterior.support} cannot be interpolated")
    z, y = encoded.modes[0], encoded.split.labels[:1]
    is_sphere = vae.posterior.support is sphere_constraint
    replace = _replace_coordinate_on_sphere if is_sphere else _replace_coordinate
    mean, std, values, unit = _choose_values(vae, encoded)
    images, original = [], []
    for index in (dimension.indices.start for dimension in traversed):
        row = replace(z, index, mean[index] + std[index] * values)
        images.append(decode_latents(vae, data, _set_later_layers_to_means(vae, row, index, y), y))
        original.append((z[index] - mean[index]) / std[index])
    labels = [dimension.label for dimension in traversed]
    return Traversals(torch.stack(images), labels, values, torch.stack(original), unit)


def _choose_values(vae: VAE, encoded: EncodedImages) -> tuple[Tensor, Tensor, Tensor, str]:
    """Choose the values that the dimensions take.

    Returns:
        The mean and the standard deviation of each dimension, both (D,); the values as multiples of
        the standard deviation from the mean, (C,); the name of this unit.
    """
    zeros, y = torch.zeros(vae.latent_dim), encoded.split.labels
    if vae.posterior.support is sphere_constraint:
        values = torch.linspace(-1, 1, SPHERE_COLUMNS)
        return zeros, zeros + 1, values, "coordinate on the unit sphere"
    values = torch.linspace(-MAX_STANDARD_DEVIATIONS, MAX_STANDARD_DEVIATIONS, COLUMNS)
    unit = "standard deviations of the prior, from its mean"
    with evaluation_mode(vae) as device:
        p = vae.condition_on(y[:1].to(device)).latents()
    if not vae.posterior.has_density:
        mean, std = encoded.samples.mean(0), encoded.samples.std(0)
        unit = "standard deviations of the latents, from their mean"
    elif isinstance(p, DiagonalNormal):
        mean, std = p.mean.reshape(-1).cpu(), p.variance.sqrt().reshape(-1).cpu()
    else:
        prior_samples = sample_prior_latents(vae, y)
        mean, std = prior_samples.mean(0), prior_samples.std(0)
    return mean, std, values, unit


def _replace_coordinate(z: Tensor, index: int, values: Tensor) -> Tensor:
    """Return copies (C, D) of z (D,) with z[index] set to each of the values (C,)."""
    replaced = z.repeat(len(values), 1)
    replaced[:, index] = values
    return replaced


def _replace_coordinate_on_sphere(z: Tensor, index: int, values: Tensor) -> Tensor:
    """Return copies (C, D) on the unit sphere; the other coordinates keep their proportions."""
    rest = normalize(_replace_coordinate(z, index, torch.zeros_like(values)), dim=-1)
    replaced = rest * (1 - values.square()).clamp(min=0).sqrt().unsqueeze(-1)
    replaced[:, index] = values
    return replaced


def _set_later_layers_to_means(vae: VAE, z: Tensor, index: int, y: Tensor) -> Tensor:
    """Return z (C, D) with the layers that p samples after the layer of `index` at their means.

    Each mean is conditioned on the layers before it. A model without layers returns z unchanged.
    """
    if not vae.layered:
        return z
    with evaluation_mode(vae) as device:
        p: Any = vae.condition_on(y.to(device)).latents()
        z = z.to(device)
        numbers = count()
        layer_of_entry = p.run_layers(
            torch.Size([1]), None, lambda layer: torch.full_like(layer.mean, next(numbers))
        ).z[0]
        numbers_again = count()

        def pick(layer: DiagonalNormal) -> Tensor:
            number = next(numbers_again)
            is_later = number > layer_of_entry[index]
            return layer.mean if is_later else z[:, layer_of_entry == number]

        return p.run_layers(z.shape[:1], None, pick).z.cpu()
