"""Images beside their reconstructions, and samples of the prior."""

import torch
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.figures.compute.base import (
    check_image_data,
    evaluation_mode,
    held_out_split,
    spread_subset,
    to_display_range,
)
from vaelab.objectives.base import sample_prior
from vaelab.vae import VAE


def compute_reconstructions(vae: VAE, data: DataModule, most: int) -> tuple[Tensor, Tensor]:
    """Pictures x (N, C, H, W) and the means of p(x|z) with z ~ q(z|x)."""
    check_image_data(data)
    images, labels = spread_subset(held_out_split(data), most)
    with evaluation_mode(vae) as device:
        x, model = data.prepare(images.to(device)), vae.condition_on(labels.to(device))
        again = model.decode(model.encode(x).rsample()).mean
    return to_display_range(x, data), to_display_range(again, data)


def compute_samples(vae: VAE, data: DataModule, most: int) -> Tensor:
    """Means of p(x|z) with z ~ p(z), (most, C, H, W); those of one class side by side."""
    check_image_data(data)
    labels = held_out_split(data).labels
    labels = labels.sort().values if labels.ndim == 1 else labels
    labels = labels[torch.arange(most) * len(labels) // most]
    with evaluation_mode(vae) as device:
        model = vae.condition_on(labels.to(device))
        return to_display_range(model.decode(sample_prior(model.latents(), most)).mean, data)
