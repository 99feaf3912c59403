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
from vaelab.runtime.distributed import merged, progress
from vaelab.runtime.files import written
from vaelab.runtime.seeding import Stream, noise
from vaelab.vae import VAE

DRAWS = 32  # that estimate the mean of a posterior which does not know it

Found = dict[str, Tensor]


class Batch(NamedTuple):
    """Images x (B, *shape), their labels (B, ...), and the model, which knows these labels."""

    model: VAE
    x: Tensor
    labels: Tensor


def each_batch(
    vae: VAE,
    data: DataModule,
    split: str,
    seed: int = 0,
    images: int | None = None,
    size: int | None = None,
    title: str = "evaluating",
    stream: Stream = Stream.EVALUATION,
    purpose: tuple[int, ...] = (),
) -> Iterator[tuple[int, Batch]]:
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
    bar = progress(batches, f"{title} {split}")
    for number, (x, y) in zip(batches.numbers, bar, strict=True):
        if number < batches.total:
            y = y.to(device)
            batch = Batch(vae.given(y), data.prepare(x.to(device)), y)
            with noise(stream, seed, *purpose, number):
                yield number, batch


@torch.no_grad()
def collect(
    vae: VAE,
    data: DataModule,
    split: str,
    compute: Callable[[Batch], Found],
    seed: int = 0,
    images: int | None = None,
    journal: Path | None = None,
    **settings: Any,
) -> Found:
    """What `compute` finds for each image, (N, ...) in the order of the split, on every process.

    Arguments:
        compute: Gives tensors (B, ...) of a batch.
        journal: A folder that keeps what was found for each batch, to go on from.

    The others are those of `each_batch`.
    """
    found = {
        number: _kept(journal, number, lambda batch=batch: compute(batch))
        for number, batch in each_batch(vae, data, split, seed, images, **settings)
    }
    parts = [part for _, part in sorted(merged(found).items())]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _kept(journal: Path | None, number: int, compute: Callable[[], Found]) -> Found:
    """What a journal has of a batch, else what is computed now, on the CPU."""
    path = journal / f"{number:06}.pt" if journal else None
    if path and path.is_file() and (known := _read(path)):
        return known
    found = {name: value.cpu() for name, value in compute().items()}
    if path:
        with written(path) as part:
            torch.save(found, part)
    return found


def _read(path: Path) -> Found | None:
    """What a journal has; None where the file is damaged, so that it is computed again."""
    try:
        return torch.load(path, weights_only=True)
    except Exception:  # noqa: BLE001, a damaged file may raise anything
        return None


def codes(
    vae: VAE, data: DataModule, split: str, seed: int = 0, images: int | None = None
) -> Found:
    """Of each image the `mean` of q(z|x) and a draw `z`, both (N, latent_dim), and its `labels`."""

    def compute(batch: Batch) -> Found:
        q = batch.model.encode(batch.x)
        return {"mean": two_means(q)[0], "z": q.sample(), "labels": batch.labels}

    return collect(vae, data, split, compute, seed, images, title="encoding")


def likeliest(q: Distribution) -> Tensor:
    """The mode of q where it is known, else its mean, estimated if need be."""
    try:
        return q.mode
    except NotImplementedError:
        return two_means(q)[0]


def two_means(q: Distribution) -> tuple[Tensor, Tensor]:
    """The mean of q twice, or two independent estimates of it."""
    try:
        return q.mean, q.mean
    except NotImplementedError:
        first, second = q.sample(torch.Size((2, DRAWS))).mean(1)
        return first, second


def standard_error(values: Tensor) -> float:
    """Of the mean over images of values (N,)."""
    return values.double().std(correction=0).item() / math.sqrt(len(values))
