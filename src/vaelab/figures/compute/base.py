"""What the figures show of a model, as arrays on the CPU; vaelab.figures draws them.

Everything is computed in evaluation mode, without gradients and with noise of its own; afterwards
the model is in the mode it was in, and torch's random state as it was. What has no meaning for a
model or its data raises LeftOut.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.data.base import DataModule, Split
from vaelab.distributions.codebook import codes_constraint
from vaelab.inference.batches import mode_or_mean
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.vae import VAE

IMAGES = 2000  # that are encoded, at most
BATCH = 250
AGGREGATE = 20_000  # draws of q(z), at most
NUMBERS = 2**20  # that they consist of, at most
DRAWS = 2000  # of the prior
INDICES = 100  # draws of a prior over indices, which may take a pass for each index


class FigureNotApplicable(Exception):
    """A figure that has no meaning here, and why."""


@contextmanager
def evaluation_mode(vae: VAE) -> Iterator[torch.device]:
    """Inside, the model is looked at and not changed; gives the device it is on."""
    training = vae.training
    vae.eval()
    try:
        with torch.no_grad(), seeded_noise(Stream.PICTURES):
            yield next(vae.parameters()).device
    finally:
        vae.train(training)


def spread_subset(split: Split, most: int) -> Split:
    """At most so many images, from all over a split, as some are sorted by class."""
    size = len(split.images)
    index = torch.arange(min(most, size)) * size // max(1, min(most, size))
    return Split(*(part[index] for part in split))


def held_out_split(data: DataModule) -> Split:
    """The images that are looked at in training: those of the validation, if there are any."""
    return data.splits["val" if data.has_validation else "test"]


def check_image_data(data: DataModule) -> None:
    if len(data.shape) != 3 or data.shape[0] not in (1, 3):
        raise FigureNotApplicable(
            f"x of shape {list(data.shape)} are no pictures of 1 or 3 channels"
        )


def to_display_range(x: Tensor, data: DataModule) -> Tensor:
    """Pictures as they are seen, on the CPU: in [0, 1], also where the data's range is another."""
    low, high = data.range
    x = x.float().cpu()
    return x if low >= 0 and high <= 1 else (x - low) / (high - low)


def iterate_posteriors(
    vae: VAE, data: DataModule, split: Split
) -> Iterator[tuple[VAE, Distribution]]:
    """The model given the labels, and q(z|x), batch by batch."""
    device = next(vae.parameters()).device
    for x, y in zip(split.images.split(BATCH), split.labels.split(BATCH), strict=True):
        model = vae.condition_on(y.to(device))
        yield model, model.encode(data.prepare(x.to(device)))


class EncodedImages(NamedTuple):
    """Of N images: the likeliest z (N, D) and draws of q(z|x) (M, D), equally many of each."""

    likeliest: Tensor
    drawn: Tensor
    split: Split


def encode_images(vae: VAE, data: DataModule, split: Split) -> EncodedImages:
    """The codes of at most IMAGES of a split."""
    some = spread_subset(split, IMAGES)
    most = min(AGGREGATE, NUMBERS // vae.latent_dim) if vae.posterior.random else 0
    each = torch.Size([max(1, most // len(some.images))])
    with evaluation_mode(vae):
        posteriors = (q for _, q in iterate_posteriors(vae, data, some))
        pairs = [(mode_or_mean(q), q.rsample(each).flatten(0, 1)) for q in posteriors]
    best, drawn = (torch.cat(parts).float().cpu() for parts in zip(*pairs, strict=True))
    if not (best.isfinite().all() and drawn.isfinite().all()):
        raise FigureNotApplicable("the codes are not finite")
    return EncodedImages(best, drawn, some)


def decode_latents(vae: VAE, data: DataModule, z: Tensor, y: Tensor) -> Tensor:
    """The mean pictures (*, C, H, W) of codes z (*, D), all with the label y (1,) or (1, A)."""
    with evaluation_mode(vae) as device:
        return to_display_range(vae.condition_on(y.to(device)).decode(z.to(device)).mean, data)


def sample_prior_points(vae: VAE, labels: Tensor) -> Tensor:
    """z (M, D), one for each label where p(z) depends on it."""
    most = INDICES if vae.posterior.support is codes_constraint else DRAWS
    with evaluation_mode(vae) as device:
        p = vae.condition_on(labels.to(device)).latents()
        if p.batch_shape:
            return p.sample().float().cpu()
        sizes = [min(BATCH, most - done) for done in range(0, most, BATCH)]
        z = torch.cat([p.sample(torch.Size([size])) for size in sizes]).float().cpu()
    if not z.isfinite().all():
        raise FigureNotApplicable("the draws of the prior are not finite")
    return z
