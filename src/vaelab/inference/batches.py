"""Passes over the images of a split. All parts of an evaluation build on `collect_per_image`.

The noise of batch n depends only on (seed, n), one process computes the batch, and the results are
sorted in the order of the images. So results are bit-identical for any number of processes, and for
an interrupted evaluation that resumes.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.distributions.point_estimates import estimate_mean_twice
from vaelab.runtime.distributed import merge_over_processes, progress_bar
from vaelab.runtime.files import atomic_write
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.vae import VAE

PerImage = dict[str, Tensor]
"""Tensors (N, ...) or (B, ...) by their names, with a row for each image."""


class EvaluationBatch(NamedTuple):
    """A batch of an evaluation.

    Attributes:
        model: The model, conditioned on the labels.
        x: Images (B, *shape).
        labels: Labels (B, ...).
        indices: The index of each image in its split (B,), on the CPU.
    """

    model: VAE
    x: Tensor
    labels: Tensor
    indices: Tensor


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
    """Iterate over the numbers and batches of this process; each batch has its own random state.

    Arguments:
        images: The size of a random subset of the split; None means all.
        size: The batch size; None means `DataModule.evaluation_batch`.
        title: The title of the progress bar.
        stream, purpose: The noise of batch n depends on (stream, seed, *purpose, n).
    """
    vae.eval()
    device = next(vae.parameters()).device
    batches = data.batches(split, images, size)
    bar = progress_bar(batches, f"{title} {split}")
    for number, (x, y, index) in zip(batches.batch_numbers, bar, strict=True):
        if number < batches.num_batches:
            y = y.to(device)
            x = data.prepare(x.to(device), index=index)
            batch = EvaluationBatch(vae.condition_on(y), x, y, index)
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
    """Apply `compute` to every batch of a split, and concatenate the results.

    Arguments:
        compute: Returns tensors (B, ...) for a batch.
        journal: The folder that keeps the results of each batch, to resume from; None for none.
        settings: size, title, stream and purpose of `iterate_batches`, as are the others.

    Returns:
        Tensors (N, ...) in the order of the split, the same on every process.
    """
    results = {
        number: _load_or_compute(journal, number, lambda batch=batch: compute(batch))
        for number, batch in iterate_batches(vae, data, split, seed, images, **settings)
    }
    parts = [part for _, part in sorted(merge_over_processes(results).items())]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _load_or_compute(
    journal: Path | None, number: int, compute: Callable[[], PerImage]
) -> PerImage:
    """Load the results of a batch from the journal, or compute them and write them to it.

    The results are on the CPU.
    """
    path = journal / f"{number:06}.pt" if journal else None
    if path and path.is_file() and (loaded := _read_journal_entry(path)):
        return loaded
    results = {name: value.cpu() for name, value in compute().items()}
    if path:
        with atomic_write(path) as part:
            torch.save(results, part)
    return results


def _read_journal_entry(path: Path) -> PerImage | None:
    """Read the results of a batch; None if the file is damaged, so that they are computed again."""
    try:
        return torch.load(path, weights_only=True)
    except Exception:  # noqa: BLE001, a damaged file may raise anything
        return None


def collect_latents(
    vae: VAE, data: DataModule, split: str, seed: int = 0, images: int | None = None
) -> PerImage:
    """Encode the images of a split.

    Returns:
        mean (N, latent_dim) and z (N, latent_dim), the mean and a sample of q(z|x), and labels
        (N, ...).
    """

    def compute(batch: EvaluationBatch) -> PerImage:
        q = batch.model.encode(batch.x)
        return {"mean": estimate_mean_twice(q)[0], "z": q.sample(), "labels": batch.labels}

    return collect_per_image(vae, data, split, compute, seed, images, title="encoding")


def compute_standard_error(values: Tensor) -> float:
    """Compute the standard error of the mean of values (N,)."""
    return values.double().std(correction=0).item() / math.sqrt(len(values))
