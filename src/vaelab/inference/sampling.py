"""Generate images with a trained model.

Each of these has its own random state, derived from the seed: the latents of every batch of
training images, the fit of the sampler, the new latents, and every chunk of images. So the same
seed gives bit-identical images.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.estimators.importance import MAX_DECODER_OUTPUTS
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.inference.calibration import compute_mean_error_statistic
from vaelab.inference.image_grid import make_image_grid
from vaelab.runtime.distributed import progress_bar
from vaelab.runtime.errors import UserError
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.samplers.base import Sampler
from vaelab.vae import VAE

TRAINING_LATENTS, SAMPLER_FIT, NEW_LATENTS, PIXELS = range(4)  # purposes of random numbers
LATENT_CHUNK = 1000  # latents that are sampled at once
MAX_GRID_IMAGES = 100


class GeneratedSamples(NamedTuple):
    """Generated images.

    Attributes:
        z: Latents (n, latent_dim).
        x: Images (n, *shape).
        label: Labels (n,) or (n, attributes); (n, 0) without labels.
    """

    z: Tensor
    x: Tensor
    label: Tensor


@dataclass
class SamplingConfig:
    """The settings of scripts/sample.py; conf/sample.yaml describes them.

    Raises:
        UserError: If n or seed is out of range.
    """

    sampler: Sampler
    n: int
    temperature: float | list[float]
    label: int | list[str] | None
    seed: int
    draw: bool
    checkpoint: Literal["best", "last"]
    out: str | None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserError(f"n={self.n}: it must be at least 1")
        if self.seed < 0:
            raise UserError(f"seed={self.seed}: it must not be negative")

    def needs_data(self, vae: VAE) -> bool:
        """True if sampling needs the training images or their labels."""
        calibrates = self.draw and vae.likelihood.needs_calibration
        return self.sampler.needs_fit or vae.samples_take_labels or calibrates

    def generate_samples(self, vae: VAE, data: DataModule) -> GeneratedSamples:
        """Generate images with these settings, in the units of the data."""
        settings = (self.sampler, self.n, self.label, self.seed, self.draw)
        samples = sample_images(vae, data, *settings)
        return samples._replace(x=vae.to_data_units(samples.x))


@torch.no_grad()
def sample_images(
    vae: VAE,
    data: DataModule,
    sampler: Sampler,
    n: int,
    label: int | Sequence[str] | Tensor | None = None,
    seed: int = 0,
    draw: bool = False,
) -> GeneratedSamples:
    """Generate n images: the means of p(x|z) in float32, or samples of p(x|z).

    Images of standardized data are standardized: `VAE.to_data_units` gives them their units.
    Samples of binary pixels and of 256 levels are uint8 from 0 to 255, as data=arrays expects them.

    Arguments:
        sampler: The sampler of z. It is fitted to the latents of the training images if necessary.
        label: For conditional models and prior.classes: a class, the names of all attributes that
            are true, or labels (n, ...). None takes labels of evenly spaced training images.
        draw: True to sample from p(x|z), False to return its mean.

    Raises:
        UserError: If the label does not fit the model or the data.
    """
    vae.eval()
    labels = _choose_labels(vae, data, n, label)
    sampler.prepare(vae)
    if sampler.needs_fit:
        latents = encode_training_images(vae, data, seed)
        with seeded_noise(Stream.SAMPLES, seed, SAMPLER_FIT, 0):
            sampler.fit(latents)
    with seeded_noise(Stream.SAMPLES, seed, NEW_LATENTS, 0):
        device = next(vae.parameters()).device
        parts = [
            y.to(device) if vae.samples_take_labels else None for y in labels.split(LATENT_CHUNK)
        ]
        sizes = [len(part) for part in labels.split(LATENT_CHUNK)]
        chunks = zip(sizes, parts, strict=True)
        z = torch.cat([sampler.sample(size, part).cpu() for size, part in chunks])
    if draw and vae.likelihood.needs_calibration:
        vae.likelihood.calibrate(compute_mean_error_statistic(vae, data, seed))
    return GeneratedSamples(z, _decode_in_chunks(vae, z, labels, seed, draw), labels)


@torch.no_grad()
def encode_training_images(vae: VAE, data: DataModule, seed: int = 0) -> Tensor:
    """Sample q(z|x) (N, latent_dim) for each training image; a deterministic q gives its point."""

    def compute(batch: EvaluationBatch) -> PerImage:
        return {"z": batch.model.encode(batch.x).rsample()}

    noise = {"stream": Stream.SAMPLES, "purpose": (TRAINING_LATENTS,)}
    latents = collect_per_image(vae, data, "train", compute, seed, title="encoding", **noise)
    return latents["z"].to(next(vae.parameters()).device)


def _choose_labels(
    vae: VAE, data: DataModule, n: int, label: int | Sequence[str] | Tensor | None
) -> Tensor:
    """Return the labels of the images to generate."""
    if not vae.samples_take_labels:
        if label is not None:
            raise UserError(f"label={label}: the model of this run is unconditional: leave it out")
        return torch.zeros(n, 0, dtype=torch.long)
    known = data.splits["train"].labels
    if label is None:
        return known[torch.arange(n) * max(1, len(known) // n) % len(known)]  # may be sorted
    if isinstance(label, Tensor):
        return label
    if known.ndim > 1:
        return _encode_attributes(label, getattr(data, "attributes", ())).expand(n, -1)
    if not isinstance(label, int) or label not in known:
        classes = ", ".join(str(value) for value in known.unique().tolist())
        raise UserError(f"label={label}: choose a label of the training images: {classes}")
    return torch.full((n,), label, dtype=known.dtype)


def _encode_attributes(chosen: int | Sequence[str], names: Sequence[str]) -> Tensor:
    """Return a vector of attributes: 1 for the chosen ones, 0 for the others."""
    if not names:
        raise UserError(f"label={chosen}: the attributes of this data have no names: leave it out")
    if isinstance(chosen, int) or not set(chosen) <= set(names):
        raise UserError(
            f"label={chosen}: list attributes, as in label=[{names[0]}], of {', '.join(names)}"
        )
    return torch.tensor([name in chosen for name in names]).long()


def _decode_in_chunks(vae: VAE, z: Tensor, labels: Tensor, seed: int, draw: bool) -> Tensor:
    """Decode latents chunk by chunk, to bound the memory."""
    device, images = next(vae.parameters()).device, []
    size = max(1, MAX_DECODER_OUTPUTS // (vae.likelihood.outputs * math.prod(vae.shape[1:])))
    chunks = list(zip(z.split(size), labels.split(size), strict=True))
    for number, (part, y) in enumerate(progress_bar(chunks, "decoding")):
        with seeded_noise(Stream.SAMPLES, seed, PIXELS, number):
            p = vae.condition_on(y.to(device)).decode(part.to(device))
            images.append(_to_stored_pixels(vae, p.sample()) if draw else p.mean.float().cpu())
    return torch.cat(images)


def _to_stored_pixels(vae: VAE, x: Tensor) -> Tensor:
    """Convert samples to the data type in which they are stored."""
    if vae.likelihood.pixels not in ("binary", "levels"):
        return x.float().cpu()
    return (255 * x).round().to(torch.uint8).cpu()


def save_samples(
    samples: GeneratedSamples, folder: Path, name: str, settings: dict[str, Any]
) -> list[Path]:
    """Write <name>.npz, which data=arrays reads, and for image data <name>.png, a grid.

    Arguments:
        settings: Written to the npz as JSON.

    Returns:
        The written files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.npz"]
    arrays: Any = {"z": samples.z.numpy(), "x": samples.x.numpy(), "y": samples.label.numpy()}
    np.savez(paths[0], **arrays, settings=np.array(json.dumps(settings)))
    if samples.x.ndim == 4 and samples.x.shape[1] in (1, 3):
        x = samples.x[:MAX_GRID_IMAGES]
        x = x / 255 if x.dtype == torch.uint8 else x
        paths.insert(0, folder / f"{name}.png")
        make_image_grid(x, math.ceil(math.sqrt(len(x)))).save(paths[0])
    return paths
