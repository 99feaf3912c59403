"""Held-out images with their reconstructions, and images decoded from samples of the prior."""

import torch
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.distributions.point_estimates import mean_at_total
from vaelab.figures.compute.base import (
    check_displayable,
    evaluation_mode,
    get_held_out_split,
    select_evenly_spaced,
    to_display_images,
)
from vaelab.objectives.base import sample_prior
from vaelab.vae import VAE


def compute_reconstructions(vae: VAE, data: DataModule, count: int) -> tuple[Tensor, Tensor]:
    """Reconstruct at most `count` held-out images.

    Returns:
        The images x and the means of p(x|z) with z ~ q(z|x), both (N, C, H, W).

    Raises:
        FigureNotApplicable: If x cannot be shown as an image.
    """
    check_displayable(data)
    images, labels = select_evenly_spaced(get_held_out_split(data), count)
    with evaluation_mode(vae) as device:
        x, model = data.prepare(images.to(device)), vae.condition_on(labels.to(device))
        reconstructions = mean_at_total(model.decode(model.encode(x).rsample()), x)
    return to_display_images(x, data), to_display_images(reconstructions, data)


def compute_samples(vae: VAE, data: DataModule, count: int) -> Tensor:
    """Return the means of p(x|z) with z ~ p(z), (count, C, H, W).

    A conditional model gets held-out labels, sorted so that images of one class are neighbours.

    Raises:
        FigureNotApplicable: If x cannot be shown as an image.
    """
    check_displayable(data)
    labels = get_held_out_split(data).labels
    labels = labels.sort().values if labels.ndim == 1 else labels
    labels = labels[torch.arange(count) * len(labels) // count]
    with evaluation_mode(vae) as device:
        model = vae.condition_on(labels.to(device))
        return to_display_images(model.decode(sample_prior(model.latents(), count)).mean, data)
