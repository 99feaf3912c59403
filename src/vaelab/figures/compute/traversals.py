"""The code of an image, one dimension after another moved."""

from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vaelab.data.base import DataModule
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.sphere import sphere
from vaelab.figures.compute.base import (
    EncodedImages,
    FigureNotApplicable,
    check_image_data,
    decode_latents,
    evaluation_mode,
    sample_prior_points,
)
from vaelab.figures.compute.dimensions import Dimension
from vaelab.vae import VAE

ROWS = 10
REACH = 3.0  # standard deviations
COLUMNS = 13
ON_SPHERE = 9  # columns


class Traversals(NamedTuple):
    """Pictures (R, C, ...) of R dimensions, the most active first, at C values.

    Attributes:
        labels: Of the dimensions.
        values: (C,), in `unit`.
        own: (R,), what the code has that all rows begin with.
    """

    images: Tensor
    labels: list[str]
    values: Tensor
    own: Tensor
    unit: str


def compute_traversals(
    vae: VAE, data: DataModule, codes: EncodedImages, dimensions: Sequence[Dimension]
) -> Traversals:
    """The code of the first image, of which each row moves one dimension and holds the others.

    On the sphere the others shrink to make room for it. Of several stochastic layers those below
    the dimension's follow p, each at its mean. Categories are not moved.
    """
    check_image_data(data)
    moved = [each for each in dimensions if len(each.places) == 1][:ROWS]
    if not moved:
        raise FigureNotApplicable(f"nothing lies between {vae.posterior.support}")
    z, y = codes.likeliest[0], codes.split.labels[:1]
    move = _rotated if vae.posterior.support is sphere else _replaced
    mean, deviation, values, unit = _scale(vae, codes)
    images, own = [], []
    for place in (each.places.start for each in moved):
        row = move(z, place, mean[place] + deviation[place] * values)
        images.append(decode_latents(vae, data, _followed(vae, row, place, y), y))
        own.append((z[place] - mean[place]) / deviation[place])
    labels = [each.label for each in moved]
    return Traversals(torch.stack(images), labels, values, torch.stack(own), unit)


def _scale(vae: VAE, codes: EncodedImages) -> tuple[Tensor, Tensor, Tensor, str]:
    """Mean and deviation of each dimension (D,), the values counted by them, and their unit."""
    zeros, y = torch.zeros(vae.latent_dim), codes.split.labels
    if vae.posterior.support is sphere:
        return zeros, zeros + 1, torch.linspace(-1, 1, ON_SPHERE), "coordinate on the unit sphere"
    values, whose = torch.linspace(-REACH, REACH, COLUMNS), "the prior, from its mean"
    with evaluation_mode(vae) as device:
        p = vae.condition_on(y[:1].to(device)).latents()
    if not vae.posterior.density:
        moments, whose = (codes.drawn.mean(0), codes.drawn.std(0)), "the codes, from their mean"
    elif isinstance(p, DiagonalNormal):
        moments = (p.mean.reshape(-1).cpu(), p.variance.sqrt().reshape(-1).cpu())
    else:
        draws = sample_prior_points(vae, y)
        moments = (draws.mean(0), draws.std(0))
    return *moments, values, f"standard deviations of {whose}"


def _replaced(z: Tensor, place: int, values: Tensor) -> Tensor:
    """z (D,) with its number at `place` set to each of the values, (C, D)."""
    moved = z.repeat(len(values), 1)
    moved[:, place] = values
    return moved


def _rotated(z: Tensor, place: int, values: Tensor) -> Tensor:
    """The same on the unit sphere: the others keep their proportions."""
    rest = normalize(_replaced(z, place, torch.zeros_like(values)), dim=-1)
    moved = rest * (1 - values.square()).clamp(min=0).sqrt().unsqueeze(-1)
    moved[:, place] = values
    return moved


def _followed(vae: VAE, z: Tensor, place: int, y: Tensor) -> Tensor:
    """z (C, D) with the layers that p draws after that of `place` at their means, given the rest.

    Nothing is changed where there are no layers.
    """
    if not vae.layered:
        return z
    with evaluation_mode(vae) as device:
        p: Any = vae.condition_on(y.to(device)).latents()
        numbers, turns, z = count(), count(), z.to(device)
        one = torch.Size([1])
        turn = p.walk(one, None, lambda layer: torch.full_like(layer.mean, next(numbers))).z[0]

        def pick(layer: DiagonalNormal) -> Tensor:
            now = next(turns)
            return layer.mean if now > turn[place] else z[:, turn == now]

        return p.walk(z.shape[:1], None, pick).z.cpu()
