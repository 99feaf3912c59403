"""What each slider turns: one number of the code, or the category of one of its variables."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.one_hot import OneHotBlocks
from vaelab.distributions.sphere import sphere
from vaelab.vae import VAE

USUAL = 3.0  # how far a slider reaches at least where p(z) is a density of real vectors


class Dial(NamedTuple):
    """A part of z (D,) and the values that it takes.

    Attributes:
        name: As z3, or c3 for a variable.
        low, high, step: Of its value, a number or the place of a category, from 0.
        first: Its first dimension in z.
        categories: Of a variable; 0 for a number.
        activity: What the model uses it for, in words.
    """

    name: str
    low: float
    high: float
    step: float
    first: int
    categories: int = 0
    activity: str = ""

    @property
    def digits(self) -> int:
        """Of its values after the point; negative where they are whole tens or hundreds."""
        return -round(math.log10(self.step))

    def read(self, z: Tensor) -> float:
        part = z[self.first : self.first + max(1, self.categories)]
        return float(part.argmax() if self.categories else part[0])

    def write(self, z: Tensor, value: float) -> None:
        """Set it in z, in place."""
        if self.categories:
            z[self.first : self.first + self.categories] = 0
        z[self.first + (int(value) if self.categories else 0)] = 1 if self.categories else value


def has_directions(vae: VAE) -> bool:
    """Whether codes are numbers that can be turned up and down, so that a map of them is one."""
    return vae.posterior.support in (constraints.real_vector, sphere)


def dials(vae: VAE, codes: Tensor, kl: Tensor | None) -> list[Dial]:
    """Those of a model with some of its codes (N, D), the most active first.

    Arguments:
        kl: Of each dial in nats (dials,), or None where only the total is known; then they are
            ordered by the variance of the codes.
    """
    support = vae.posterior.support
    if has_directions(vae):
        least = (0.0, 1.0)[support is sphere] or USUAL * vae.posterior.density
        found = [_number(d, codes[:, d], least) for d in range(_free(vae))]
    elif isinstance(support, OneHotBlocks):
        found = _variables(support, codes)
    else:
        return []
    if kl is not None and len(kl) == len(found):
        return _ordered(found, kl, "{:.2f} nats")
    spread = torch.stack([codes[:, dial.first].var(unbiased=False) for dial in found])
    return _ordered(found, spread, "variance {:.2g}")


def _ordered(found: list[Dial], activity: Tensor, words: str) -> list[Dial]:
    order = activity.argsort(descending=True, stable=True).tolist()
    return [found[i]._replace(activity=words.format(activity[i].item())) for i in order]


def _free(vae: VAE) -> int:
    """How many of the first dimensions are numbers of their own.

    Of several layers, those of the first in z: of a ladder the top one, and from the bottom up the
    only one that the decoder reads.
    """
    if not vae.layered:
        return vae.latent_dim
    sizes = getattr(vae.decoder, "latents", None) or vae.encoder.latents
    return sizes[0]


def _number(d: int, codes: Tensor, least: float) -> Dial:
    """The dial of dimension d, half a deviation wider than its codes (N,)."""
    room = 0.5 * codes.std(unbiased=False).item() or 1.0
    low = min(codes.min().item() - room, -least)
    high = max(codes.max().item() + room, least)
    digits = -math.floor(math.log10((high - low) / 100))
    step = 10.0**-digits
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return Dial(f"z{d + 1}", round(low, digits), round(high, digits), round(step, digits), d)


def _variables(support: OneHotBlocks, codes: Tensor) -> list[Dial]:
    variables, categories, normal = support.sizes
    found = [
        Dial(f"c{v + 1}", 0, categories - 1, 1, v * categories, categories)
        for v in range(variables)
    ]
    taken = variables * categories
    return found + [_number(taken + d, codes[:, taken + d], USUAL) for d in range(normal)]
