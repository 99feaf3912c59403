"""New images of a trained model: `sample(vae, data, sampler, n)`.

Everything random has noise of its own from the seed: the codes of every batch of training images,
what the sampler fits and draws, and every chunk of images. So the same seed gives the same bits.
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
from vaelab.estimators.importance import CHUNK
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.inference.calibration import mean_calibration_error
from vaelab.inference.image_grid import image_grid
from vaelab.runtime.distributed import progress_bar
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.samplers.base import Sampler
from vaelab.vae import VAE

CODES, FIT, DRAW, DECODE = range(4)  # what noise is for
AT_ONCE = 1000  # codes that are drawn
PICTURED = 100  # images in the grid, at most


class GeneratedSamples(NamedTuple):
    """z (n, latent_dim), x (n, *shape) and labels (n,) or (n, attributes); (n, 0) is none."""

    z: Tensor
    x: Tensor
    label: Tensor


@dataclass
class SamplingConfig:
    """What is asked of scripts/sample.py, as conf/sample.yaml has it."""

    sampler: Sampler
    n: int
    temperature: float
    label: int | list[str] | None
    seed: int
    draw: bool
    checkpoint: Literal["best", "last"]
    out: str | None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n={self.n}: it must be at least 1")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: it must not be negative")

    def needs_data(self, vae: VAE) -> bool:
        """Whether it needs the training images or their labels."""
        calibrates = self.draw and vae.likelihood.calibrated
        return self.sampler.fitted or vae.conditional or calibrates

    def of(self, vae: VAE, data: DataModule) -> GeneratedSamples:
        return sample_images(vae, data, self.sampler, self.n, self.label, self.seed, self.draw)


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
    """n images: the means of p(x|z) in float32, or draws of it.

    Draws of bits and of 256 levels are uint8, 0 to 255, which data=arrays takes for what they are.

    Arguments:
        sampler: What draws z; it is fitted here.
        label: Of a conditional model, a class, or the names of the attributes that are true and no
            others, or the labels (n, ...); None takes those of the first training images.
    """
    vae.eval()
    labels = _labels(vae, data, n, label)
    sampler.prepare(vae)
    if sampler.fitted:
        codes = encode_training_images(vae, data, seed)
        with seeded_noise(Stream.SAMPLES, seed, FIT, 0):
            sampler.fit(codes)
    with seeded_noise(Stream.SAMPLES, seed, DRAW, 0):
        device = next(vae.parameters()).device
        parts = [y.to(device) if vae.conditional else None for y in labels.split(AT_ONCE)]
        sizes = [len(part) for part in labels.split(AT_ONCE)]
        z = torch.cat([sampler.sample(*each).cpu() for each in zip(sizes, parts, strict=True)])
    if draw and vae.likelihood.calibrated:
        vae.likelihood.calibrate(mean_calibration_error(vae, data, seed))
    return GeneratedSamples(z, _decoded(vae, z, labels, seed, draw), labels)


@torch.no_grad()
def encode_training_images(vae: VAE, data: DataModule, seed: int = 0) -> Tensor:
    """A draw of q(z|x) for each training image, (N, latent_dim): its point if q has no density."""

    def compute(batch: EvaluationBatch) -> PerImage:
        return {"z": batch.model.encode(batch.x).rsample()}

    where = {"stream": Stream.SAMPLES, "purpose": (CODES,)}
    found = collect_per_image(vae, data, "train", compute, seed, title="encoding", **where)
    return found["z"].to(next(vae.parameters()).device)


def _labels(
    vae: VAE, data: DataModule, n: int, label: int | Sequence[str] | Tensor | None
) -> Tensor:
    """The labels of the images that are to be made."""
    if not vae.conditional:
        if label is not None:
            raise ValueError(f"label={label}: the model of this run has no labels: leave it out")
        return torch.zeros(n, 0, dtype=torch.long)
    known = data.splits["train"].labels
    if label is None:
        return known[torch.arange(n) % len(known)]
    if isinstance(label, Tensor):
        return label
    if known.ndim > 1:
        return _attributes(label, getattr(data, "attributes", ())).expand(n, -1)
    if not isinstance(label, int) or label not in known:
        names = ", ".join(str(each) for each in known.unique().tolist())
        raise ValueError(f"label={label}: the training images have {names}")
    return torch.full((n,), label, dtype=known.dtype)


def _attributes(chosen: int | Sequence[str], names: Sequence[str]) -> Tensor:
    """1 for those that are chosen, 0 for the others."""
    if not names:
        raise ValueError(f"label={chosen}: the attributes of this data have no names: leave it out")
    if isinstance(chosen, int) or not set(chosen) <= set(names):
        raise ValueError(
            f"label={chosen}: name attributes, as in label=[{names[0]}], of {', '.join(names)}"
        )
    return torch.tensor([name in chosen for name in names]).long()


def _decoded(vae: VAE, z: Tensor, labels: Tensor, seed: int, draw: bool) -> Tensor:
    """x of each z, a chunk at a time."""
    device, images = next(vae.parameters()).device, []
    size = max(1, CHUNK // (vae.likelihood.outputs * math.prod(vae.shape[1:])))
    chunks = list(zip(z.split(size), labels.split(size), strict=True))
    for number, (part, y) in enumerate(progress_bar(chunks, "decoding")):
        with seeded_noise(Stream.SAMPLES, seed, DECODE, number):
            p = vae.condition_on(y.to(device)).decode(part.to(device))
            images.append(_stored(vae, p.sample()) if draw else p.mean.float().cpu())
    return torch.cat(images)


def _stored(vae: VAE, x: Tensor) -> Tensor:
    if vae.likelihood.pixels == "real":
        return x.float().cpu()
    return (255 * x).round().to(torch.uint8).cpu()


def save_samples(
    samples: GeneratedSamples, folder: Path, name: str, settings: dict[str, Any]
) -> list[Path]:
    """Write name.npz, which data=arrays reads, and name.png of pictures; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.npz"]
    arrays: Any = {"z": samples.z.numpy(), "x": samples.x.numpy(), "y": samples.label.numpy()}
    np.savez(paths[0], **arrays, settings=np.array(json.dumps(settings)))
    if samples.x.ndim == 4 and samples.x.shape[1] in (1, 3):
        x = samples.x[:PICTURED]
        x = x / 255 if x.dtype == torch.uint8 else x
        paths.insert(0, folder / f"{name}.png")
        image_grid(x, math.ceil(math.sqrt(len(x)))).save(paths[0])
    return paths
