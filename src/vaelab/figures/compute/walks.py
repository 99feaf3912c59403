"""Latent interpolations between two images."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import normalize

from vaelab.data.base import DataModule
from vaelab.distributions.sphere import sphere_constraint
from vaelab.figures.compute.base import (
    EncodedImages,
    FigureNotApplicable,
    check_displayable,
    decode_latents,
    to_display_images,
)
from vaelab.vae import VAE

STEPS = 11


class Walks(NamedTuple):
    """Interpolations between R pairs of images.

    Attributes:
        ends: The two images of each pair, (R, 2, C, H, W).
        between: The images decoded on the path between their latents, (R, STEPS, C, H, W).
        path: The kind of path: "in a straight line" or "along an arc".
    """

    ends: Tensor
    between: Tensor
    path: str


def compute_walks(vae: VAE, data: DataModule, encoded: EncodedImages, max_pairs: int) -> Walks:
    """Interpolate between at most `max_pairs` pairs of images.

    The two images of a pair have the same label if the model is conditional.

    Raises:
        FigureNotApplicable: If z has no path between two points, there is no pair, or x is not an
            image.
    """
    check_displayable(data)
    is_sphere = vae.posterior.support is sphere_constraint
    if not is_sphere and vae.posterior.support is not constraints.real_vector:
        raise FigureNotApplicable(f"{vae.posterior.support} cannot be interpolated")
    images, labels = encoded.split
    if vae.conditional:
        pairs = _pair_images_with_equal_labels(labels, max_pairs)
    else:
        pairs = _pair_distant_images(len(images), max_pairs)
    if not pairs:
        raise FigureNotApplicable("no two images can be paired for an interpolation")
    t = torch.linspace(0, 1, STEPS).unsqueeze(-1)
    between = []
    for first, last in pairs:
        ends = encoded.modes[first], encoded.modes[last]
        z = interpolate_spherically(*ends, t) if is_sphere else torch.lerp(*ends, t)
        between.append(decode_latents(vae, data, z, labels[first : first + 1]))
    ends = torch.stack(
        [to_display_images(data.prepare(images[list(pair)]), data) for pair in pairs]
    )
    path = "along an arc" if is_sphere else "in a straight line"
    return Walks(ends, torch.stack(between), path)


def interpolate_spherically(first: Tensor, last: Tensor, t: Tensor) -> Tensor:
    """Return the spherical linear interpolation (slerp) of two unit vectors u and v.

    [sin((1 - t) a) u + sin(t a) v] / sin a, a being the angle between u and v

    Arguments:
        first, last: u and v, (D,).
        t: Positions between 0 and 1, (C, 1).

    Returns:
        (C, D).

    Reference: Animating Rotation with Quaternion Curves (Shoemake, 1985), section 3.3
    """
    angle = (first @ last).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    return normalize(((1 - t) * angle).sin() * first + (t * angle).sin() * last, dim=-1)


def _pair_distant_images(size: int, max_pairs: int) -> list[tuple[int, int]]:
    """Pair images whose positions in the split differ by half of its size."""
    half = size // 2
    count = min(max_pairs, half)
    return [(i * half // count, i * half // count + half) for i in range(count)]


def _pair_images_with_equal_labels(labels: Tensor, max_pairs: int) -> list[tuple[int, int]]:
    """Pair the first two images of each of at most `max_pairs` labels."""
    _, group = labels.unique(dim=0, return_inverse=True)
    members = [(group == number).nonzero().flatten().tolist() for number in group.unique()]
    pairs = [(images[0], images[1]) for images in members if len(images) > 1]
    count = min(max_pairs, len(pairs))
    return [pairs[i * len(pairs) // count] for i in range(count)]
