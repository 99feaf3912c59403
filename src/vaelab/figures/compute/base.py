"""What all figures compute with: encoded test images, prior samples and decoded images, on the CPU.

The functions of vaelab.figures.compute take a model and return arrays, which vaelab.figures.draw
turns into figures. The model runs in evaluation mode, without gradients and with seeded noise.
Afterwards its mode and torch's random state are as before. A figure that has no meaning for a model
or its data raises FigureNotApplicable.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.data.base import DataModule, Split
from vaelab.distributions.codebook import codebook_constraint
from vaelab.distributions.point_estimates import mode_or_mean
from vaelab.figures.draw.data_tiles import draw_series, join_middle_slices
from vaelab.figures.draw.style import PALETTE
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.vae import VAE

MAX_IMAGES = 2000  # encoded images of a split
BATCH_SIZE = 250
MAX_POSTERIOR_SAMPLES = 20_000  # samples of q(z)
MAX_SAMPLED_NUMBERS = 2**20  # samples of q(z) times latent dimensions
PRIOR_SAMPLES = 2000
FLOW_PRIOR_SAMPLES = 300  # for a prior with an ODE, which needs tens of passes for a sample
INDEX_PRIOR_SAMPLES = 100  # for a prior over codebook indices, which may need a pass per index


class FigureNotApplicable(Exception):
    """A figure has no meaning for this model or data; the message is the reason."""


@contextmanager
def evaluation_mode(vae: VAE) -> Iterator[torch.device]:
    """Run the block in evaluation mode, without gradients and with seeded noise.

    Yields the device of the model.
    """
    training = vae.training
    vae.eval()
    try:
        with torch.no_grad(), seeded_noise(Stream.PICTURES):
            yield next(vae.parameters()).device
    finally:
        vae.train(training)


def select_evenly_spaced(split: Split, count: int) -> Split:
    """Return at most `count` images at equal distances in a split, which may be sorted by class."""
    size = len(split.images)
    index = torch.arange(min(count, size)) * size // max(1, min(count, size))
    return Split(*(part[index] for part in split))


def get_held_out_split(data: DataModule) -> Split:
    """Return the validation split, or the test split if there are no validation images."""
    return data.splits["val" if data.has_validation else "test"]


def check_displayable(data: DataModule) -> None:
    """Check that x can be shown as an image: see `to_display_images`.

    Raises:
        FigureNotApplicable: If x has another shape, such as a row of a table.
    """
    channels, dims = data.shape[0], len(data.shape) - 1
    if not (channels <= len(PALETTE) if dims == 1 else dims in (2, 3) and channels in (1, 3)):
        raise FigureNotApplicable(
            f"x of shape {list(data.shape)} is not drawn as a tile: tiles show series of at most "
            f"{len(PALETTE)} channels, and 1 or 3 channels of two or three dimensions"
        )


def to_data_units(x: Tensor, data: DataModule) -> Tensor:
    """Return x (*, *shape) of the model on the CPU, in the units of the data."""
    x = x.float().cpu()
    return x if data.standardization is None else data.standardization.undo(x)


def to_display_images(x: Tensor, data: DataModule) -> Tensor:
    """Return images (*, C, H, W) of x (*, *shape) of the model, on the CPU, in [0, 1].

    Standardized x is shown in the units of the data. Series become lines in the range of the data,
    and volumes their three middle slices. Images and volumes with a range beyond [0, 1] are scaled
    from that range to [0, 1].
    """
    low, high = data.data_range
    x = to_data_units(x, data)
    lead, x = x.shape[: -len(data.shape)], x.reshape(-1, *data.shape)
    if len(data.shape) == 2:
        x = draw_series(x, low, high)
    elif low < 0 or high > 1:
        x = (x - low) / (high - low)
    if len(data.shape) == 4:
        x = join_middle_slices(x)
    return x.reshape(*lead, *x.shape[1:])


def describe_tiles(data: DataModule) -> str:
    """Say what the tiles of `to_display_images` show, empty if it needs no words."""
    low, high = data.data_range
    if len(data.shape) == 2:
        channels, length = data.shape
        colours = f", a colour for each of {channels} channels" if channels > 1 else ""
        return f"each tile: {length} steps, values from {low:.3g} to {high:.3g}{colours}"
    values = f"from {low:.3g} (black) to {high:.3g} (white)" if low < 0 or high > 1 else ""
    if len(data.shape) == 4:
        slices = "each tile: the middle slices along depth, height and width"
        return f"{slices}, {values}" if values else slices
    return f"values {values}" if values else ""


def iterate_posteriors(
    vae: VAE, data: DataModule, split: Split
) -> Iterator[tuple[VAE, Distribution]]:
    """Yield the model conditioned on the labels, and q(z|x), of each batch of a split."""
    device = next(vae.parameters()).device
    for x, y in zip(split.images.split(BATCH_SIZE), split.labels.split(BATCH_SIZE), strict=True):
        model = vae.condition_on(y.to(device))
        yield model, model.encode(data.prepare(x.to(device)))


class EncodedImages(NamedTuple):
    """The posteriors q(z|x) of N images.

    Attributes:
        modes: The mode of each q(z|x), or its mean if the mode is unknown, (N, D).
        samples: Samples of the aggregate posterior q(z), equally many from each q(z|x), (M, D).
        split: The images and their labels.
    """

    modes: Tensor
    samples: Tensor
    split: Split


def encode_images(vae: VAE, data: DataModule, split: Split) -> EncodedImages:
    """Encode at most MAX_IMAGES images of a split.

    Raises:
        FigureNotApplicable: If latents are NaN or infinity.
    """
    subset = select_evenly_spaced(split, MAX_IMAGES)
    count = 0
    if vae.posterior.is_random:
        count = min(MAX_POSTERIOR_SAMPLES, MAX_SAMPLED_NUMBERS // vae.latent_dim)
    per_image = torch.Size([max(1, count // len(subset.images))])
    with evaluation_mode(vae):
        posteriors = (q for _, q in iterate_posteriors(vae, data, subset))
        pairs = [(mode_or_mean(q), q.rsample(per_image).flatten(0, 1)) for q in posteriors]
    modes, samples = (torch.cat(parts).float().cpu() for parts in zip(*pairs, strict=True))
    if not (modes.isfinite().all() and samples.isfinite().all()):
        raise FigureNotApplicable("the latents of images contain NaN or infinity")
    return EncodedImages(modes, samples, subset)


def decode_latents(vae: VAE, data: DataModule, z: Tensor, y: Tensor) -> Tensor:
    """Return images (*, C, H, W) of the means of p(x|z), see `to_display_images`.

    Arguments:
        z: (*, D).
        y: The label of all z, (1,) or (1, A) for A attributes.
    """
    with evaluation_mode(vae) as device:
        return to_display_images(vae.condition_on(y.to(device)).decode(z.to(device)).mean, data)


def sample_prior_latents(vae: VAE, labels: Tensor) -> Tensor:
    """Sample z ~ p(z), (M, D); one sample for each label if p(z) depends on the label.

    Raises:
        FigureNotApplicable: If samples are NaN or infinity.
    """
    has_codebook = vae.posterior.support is codebook_constraint
    count = FLOW_PRIOR_SAMPLES if vae.prior.has_own_loss else PRIOR_SAMPLES
    count = INDEX_PRIOR_SAMPLES if has_codebook else count
    with evaluation_mode(vae) as device:
        p = vae.condition_on(labels.to(device)).latents()
        if p.batch_shape:
            return p.sample().float().cpu()
        sizes = [min(BATCH_SIZE, count - start) for start in range(0, count, BATCH_SIZE)]
        z = torch.cat([p.sample(torch.Size([size])) for size in sizes]).float().cpu()
    if not z.isfinite().all():
        raise FigureNotApplicable("samples of the prior contain NaN or infinity")
    return z
