"""Images decoded while more and more stochastic layers are fixed, and the KL of each layer."""

from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.point_estimates import mean_at_total
from vaelab.figures.compute.base import (
    FigureNotApplicable,
    check_displayable,
    evaluation_mode,
    iterate_posteriors,
    select_evenly_spaced,
    to_display_images,
)
from vaelab.models.ladder import Ladder
from vaelab.vae import VAE

ROWS = 6
MAX_COLUMNS = 11  # numbers of fixed layers
KL_IMAGES = 500


class LayeredImages(NamedTuple):
    """Images decoded with the first k layers of q(z|x) and the means of p(z) for the others.

    Attributes:
        originals: (R, 1, channels, H, W).
        images: (R, C, channels, H, W).
        fixed: The values of k, from 0 to the number of layers L, (C,).
        kl: The mean KL of each layer over KL_IMAGES images in nats, from the top down, (L,).
    """

    originals: Tensor
    images: Tensor
    fixed: list[int]
    kl: list[float]


def compute_layers(vae: VAE, data: DataModule) -> LayeredImages:
    """Decode test images with more and more layers fixed from the top.

    A fixed layer has the mean of q given the layers above, any other layer the mean of p.

    Raises:
        FigureNotApplicable: If the model is no top-down hierarchy, or x is no image.
    """
    check_is_top_down(vae)
    check_displayable(data)
    split = data.splits["test"]
    subset = select_evenly_spaced(split, ROWS)
    with evaluation_mode(vae) as device:
        x, model = (
            data.prepare(subset.images.to(device)),
            vae.condition_on(subset.labels.to(device)),
        )
        q: Any = model.encode(x)
        p: Any = model.latents()
        parts = q.split_layers(q.mode)
        size = torch.Size() if p.batch_shape else x.shape[:1]
        fixed = sorted({round(k) for k in torch.linspace(0, len(parts), MAX_COLUMNS).tolist()})
        images = []
        for k in fixed:
            numbers = count()

            def pick(layer: DiagonalNormal, numbers: count = numbers, k: int = k) -> Tensor:
                number = next(numbers)
                return parts[number] if number < k else layer.mean

            z = p.run_layers(size, None, pick).z
            images.append(to_display_images(mean_at_total(model.decode(z), x), data))
        kl = _compute_kl_by_layer(vae, data)
    return LayeredImages(to_display_images(x, data)[:, None], torch.stack(images, 1), fixed, kl)


def check_is_top_down(vae: VAE) -> None:
    """Raise FigureNotApplicable unless the model is a top-down hierarchy of layers."""
    if not isinstance(vae, Ladder):
        raise FigureNotApplicable("the model is no top-down hierarchy of stochastic layers")


def _compute_kl_by_layer(vae: VAE, data: DataModule) -> list[float]:
    subset = select_evenly_spaced(data.splits["test"], KL_IMAGES)
    kl = [q.rsample_and_kl()[1] for _, q in iterate_posteriors(vae, data, subset)]  # type: ignore[attr-defined]
    return torch.cat(kl).mean(0).tolist()
