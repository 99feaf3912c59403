"""A pass over the images of a split: `collect`, which every part of an evaluation is made of.

Batch n draws its noise from (seed, n) and is computed by one process, and what was found goes back
to the order of the images. So any number of processes, and an evaluation that was stopped and went
on, give the same bits.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.data.base import DataModule
from vaelab.runtime.distributed import merge_over_processes, progress_bar
from vaelab.runtime.files import atomic_write
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.vae import VAE

MEAN_SAMPLES = 32  # that estimate the mean of a posterior which does not know it

PerImage = dict[str, Tensor]


class EvaluationBatch(NamedTuple):
    """Images x (B, *shape), their labels (B, ...), and the model, which knows these labels."""

    model: VAE
    x: Tensor
    labels: Tensor


def iterate_batches(
    vae: VAE,
    data: DataModule,
    split: str,
    seed: int = 0,
    images: int | None = None,
    size: int | None = None,
    title: str = "evaluating",
    stream: Stream = Stream.EVALUATION,
    purpose: tuple[int, ...] = (),
) -> Iterator[tuple[int, EvaluationBatch]]:
    """This process's batches and their numbers, each with its noise while it is looked at.

    Arguments:
        images: The first so many; None is all.
        size: Of a batch; None is that of training.
        title: Of the progress bar.
        stream, purpose: Batch n draws its noise from (stream, seed, *purpose, n).
    """
    vae.eval()
    device = next(vae.parameters()).device
    batches = data.batches(split, images, size)
    bar = progress_bar(batches, f"{title} {split}")
    for number, (x, y) in zip(batches.numbers, bar, strict=True):
        if number < batches.total:
            y = y.to(device)
            batch = EvaluationBatch(vae.condition_on(y), data.prepare(x.to(device)), y)
            with seeded_noise(stream, seed, *purpose, number):
                yield number, batch


@torch.no_grad()
def collect_per_image(
    vae: VAE,
    data: DataModule,
    split: str,
    compute: Callable[[EvaluationBatch], PerImage],
    seed: int = 0,
    images: int | None = None,
    journal: Path | None = None,
    **settings: Any,
) -> PerImage:
    """What `compute` finds for each image, (N, ...) in the order of the split, on every process.

    Arguments:
        compute: Gives tensors (B, ...) of a batch.
        journal: A folder that keeps what was found for each batch, to go on from.

    The others are those of `each_batch`.
    """
    found = {
        number: _kept(journal, number, lambda batch=batch: compute(batch))
        for number, batch in iterate_batches(vae, data, split, seed, images, **settings)
    }
    parts = [part for _, part in sorted(merge_over_processes(found).items())]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _kept(journal: Path | None, number: int, compute: Callable[[], PerImage]) -> PerImage:
    """What a journal has of a batch, else what is computed now, on the CPU."""
    path = journal / f"{number:06}.pt" if journal else None
    if path and path.is_file() and (known := _read(path)):
        return known
    found = {name: value.cpu() for name, value in compute().items()}
    if path:
        with atomic_write(path) as part:
            torch.save(found, part)
    return found


def _read(path: Path) -> PerImage | None:
    """What a journal has; None where the file is damaged, so that it is computed again."""
    try:
        return torch.load(path, weights_only=True)
    except Exception:  # noqa: BLE001, a damaged file may raise anything
        return None


def collect_latents(
    vae: VAE, data: DataModule, split: str, seed: int = 0, images: int | None = None
) -> PerImage:
    """Of each image the `mean` of q(z|x) and a draw `z`, both (N, latent_dim), and its `labels`."""

    def compute(batch: EvaluationBatch) -> PerImage:
        q = batch.model.encode(batch.x)
        return {"mean": estimate_mean_twice(q)[0], "z": q.sample(), "labels": batch.labels}

    return collect_per_image(vae, data, split, compute, seed, images, title="encoding")


def mode_or_mean(q: Distribution) -> Tensor:
    """The mode of q where it is known, else its mean, estimated if need be."""
    try:
        return q.mode
    except NotImplementedError:
        return estimate_mean_twice(q)[0]


def estimate_mean_twice(q: Distribution) -> tuple[Tensor, Tensor]:
    """The mean of q twice, or two independent estimates of it."""
    try:
        return q.mean, q.mean
    except NotImplementedError:
        first, second = q.sample(torch.Size((2, MEAN_SAMPLES))).mean(1)
        return first, second


def standard_error(values: Tensor) -> float:
    """Of the mean over images of values (N,)."""
    return values.double().std(correction=0).item() / math.sqrt(len(values))
