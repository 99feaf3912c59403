"""Images beside their reconstructions, and samples of the prior."""

import torch
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.figures.compute.base import check_pictures, held_out, looking, shown, spread
from vaelab.objectives.base import sample
from vaelab.vae import VAE


def reconstructed(vae: VAE, data: DataModule, most: int) -> tuple[Tensor, Tensor]:
    """Pictures x (N, C, H, W) and the means of p(x|z) with z ~ q(z|x)."""
    check_pictures(data)
    images, labels = spread(held_out(data), most)
    with looking(vae) as device:
        x, model = data.prepare(images.to(device)), vae.given(labels.to(device))
        again = model.decode(model.encode(x).rsample()).mean
    return shown(x, data), shown(again, data)


def sampled(vae: VAE, data: DataModule, most: int) -> Tensor:
    """Means of p(x|z) with z ~ p(z), (most, C, H, W); those of one class side by side."""
    check_pictures(data)
    labels = held_out(data).labels
    labels = labels.sort().values if labels.ndim == 1 else labels
    labels = labels[torch.arange(most) * len(labels) // most]
    with looking(vae) as device:
        model = vae.given(labels.to(device))
        return shown(model.decode(sample(model.latents(), most)).mean, data)
