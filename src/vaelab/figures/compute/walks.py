"""From the code of one image to that of another."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import normalize

from vaelab.data.base import DataModule
from vaelab.distributions.sphere import sphere
from vaelab.figures.compute.base import (
    EncodedImages,
    FigureNotApplicable,
    check_image_data,
    decode_latents,
    to_display_range,
)
from vaelab.vae import VAE

STEPS = 11


class Walks(NamedTuple):
    """The images at the ends (R, 2, ...) and what is decoded between them (R, STEPS, ...).

    Attributes:
        path: What the way between two codes is called.
    """

    ends: Tensor
    between: Tensor
    path: str


def compute_walks(vae: VAE, data: DataModule, codes: EncodedImages, most: int) -> Walks:
    """At most so many pairs; those of a conditional model have one label."""
    check_image_data(data)
    round_ = vae.posterior.support is sphere
    if not round_ and vae.posterior.support is not constraints.real_vector:
        raise FigureNotApplicable(f"nothing lies between {vae.posterior.support}")
    images, labels = codes.split
    pairs = _alike(labels, most) if vae.conditional else _apart(len(images), most)
    if not pairs:
        raise FigureNotApplicable("there are no two images to walk between")
    share = torch.linspace(0, 1, STEPS).unsqueeze(-1)
    between = []
    for first, last in pairs:
        ends = codes.likeliest[first], codes.likeliest[last]
        z = interpolate_on_arc(*ends, share) if round_ else torch.lerp(*ends, share)
        between.append(decode_latents(vae, data, z, labels[first : first + 1]))
    ends = torch.stack([to_display_range(data.prepare(images[list(pair)]), data) for pair in pairs])
    return Walks(ends, torch.stack(between), "along an arc" if round_ else "in a straight line")


def interpolate_on_arc(first: Tensor, last: Tensor, share: Tensor) -> Tensor:
    """[sin((1 - t) a) u + sin(t a) v] / sin a, for u, v (D,) of length 1 at an angle a; t (C, 1).

    Reference: Animating Rotation with Quaternion Curves (Shoemake, 1985), section 3.3
    """
    angle = (first @ last).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    return normalize(((1 - share) * angle).sin() * first + (share * angle).sin() * last, dim=-1)


def _apart(size: int, most: int) -> list[tuple[int, int]]:
    """Pairs of images that lie half of all apart."""
    half = size // 2
    count = min(most, half)
    return [(i * half // count, i * half // count + half) for i in range(count)]


def _alike(labels: Tensor, most: int) -> list[tuple[int, int]]:
    """The first two images of each of some labels."""
    _, kind = labels.unique(dim=0, return_inverse=True)
    groups = [(kind == each).nonzero().flatten().tolist() for each in kind.unique()]
    pairs = [(group[0], group[1]) for group in groups if len(group) > 1]
    count = min(most, len(pairs))
    return [pairs[i * len(pairs) // count] for i in range(count)]
