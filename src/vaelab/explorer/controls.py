"""Define the sliders of a model: each one controls a latent dimension or a categorical variable."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.one_hot import OneHotConstraint
from vaelab.distributions.sphere import sphere_constraint
from vaelab.vae import VAE

MIN_PRIOR_REACH = 3.0  # smallest range of a slider, in both directions, for real-valued latents


class LatentControl(NamedTuple):
    """The part of a latent vector z (D,) that one slider controls, and the slider's range.

    Attributes:
        name: Label of the slider: z3 for a dimension, c3 for a categorical variable.
        low, high, step: Range and step of the value, which is a number or the index of a category.
        first: Index of the first dimension in z.
        categories: Number of categories of the variable; 0 for a single dimension.
        activity: How much the model uses it: the mean KL in nats, or the variance of the latents.
        has_kl: True if the activity is a KL.
    """

    name: str
    low: float
    high: float
    step: float
    first: int
    categories: int = 0
    activity: float = 0.0
    has_kl: bool = False

    @property
    def digits(self) -> int:
        """The number of decimal places of the value; negative if the step is 10 or more."""
        return -round(math.log10(self.step))

    def get_value(self, z: Tensor) -> float:
        """Return the value that z (D,) has in this control."""
        part = z[self.first : self.first + max(1, self.categories)]
        return float(part.argmax() if self.categories else part[0])

    def set_value(self, z: Tensor, value: float) -> None:
        """Write a value into z (D,), in place."""
        if self.categories:
            z[self.first : self.first + self.categories] = 0
        z[self.first + (int(value) if self.categories else 0)] = 1 if self.categories else value


def has_vector_latents(vae: VAE) -> bool:
    """True if the latents are real vectors or points of a sphere, so that they can be mapped."""
    return vae.posterior.support in (constraints.real_vector, sphere_constraint)


def make_controls(vae: VAE, latents: Tensor, kl: Tensor | None) -> list[LatentControl]:
    """Create the controls of a model, the most active first.

    Arguments:
        latents: Latents (N, D) of some images, which determine the range of each control.
        kl: Mean KL of each control in nats, (controls,), or None if only the total is known. In
            that case the variance of the latents determines the order.

    Returns:
        The controls; none for latents of a codebook.
    """
    support = vae.posterior.support
    if has_vector_latents(vae):
        is_sphere = support is sphere_constraint
        reach = 1.0 if is_sphere else MIN_PRIOR_REACH * vae.posterior.has_density
        controls = [
            _number_control(d, latents[:, d], reach) for d in range(_controlled_dimensions(vae))
        ]
    elif isinstance(support, OneHotConstraint):
        controls = _one_hot_controls(support, latents)
    else:
        return []
    if kl is not None and len(kl) == len(controls):
        return _sort_by_activity(controls, kl, has_kl=True)
    variances = [latents[:, control.first].var(unbiased=False) for control in controls]
    return _sort_by_activity(controls, torch.stack(variances), has_kl=False)


def _sort_by_activity(
    controls: list[LatentControl], activity: Tensor, has_kl: bool
) -> list[LatentControl]:
    """Sort controls by descending activity (controls,)."""
    order = activity.argsort(descending=True, stable=True).tolist()
    return [controls[i]._replace(activity=activity[i].item(), has_kl=has_kl) for i in order]


def _controlled_dimensions(vae: VAE) -> int:
    """Return how many of the first dimensions of z get a slider.

    A hierarchical model has sliders only for the layer that is first in z: the top layer of a
    ladder, or the bottom layer of a bottom-up hierarchy, which is the only one the decoder reads.
    """
    if not vae.layered:
        return vae.latent_dim
    sizes = getattr(vae.decoder, "latents", None) or vae.encoder.latents
    return sizes[0]


def _number_control(d: int, latents: Tensor, reach: float) -> LatentControl:
    """Create the control of dimension d.

    Arguments:
        latents: Values (N,) of the dimension. The range exceeds them by half a standard deviation.
        reach: The range includes at least [-reach, reach].
    """
    margin = 0.5 * latents.std(unbiased=False).item() or 1.0
    low = min(latents.min().item() - margin, -reach)
    high = max(latents.max().item() + margin, reach)
    digits = -math.floor(math.log10((high - low) / 100))
    step = 10.0**-digits
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return LatentControl(
        f"z{d + 1}", round(low, digits), round(high, digits), round(step, digits), d
    )


def _one_hot_controls(support: OneHotConstraint, latents: Tensor) -> list[LatentControl]:
    """Create a control for each categorical variable and each continuous dimension."""
    variables, categories, normal = support.sizes
    categorical = [
        LatentControl(f"c{v + 1}", 0, categories - 1, 1, v * categories, categories)
        for v in range(variables)
    ]
    first = variables * categories
    continuous = [
        _number_control(first + d, latents[:, first + d], MIN_PRIOR_REACH) for d in range(normal)
    ]
    return categorical + continuous
