"""Batches of any data loader, and what is known about the data behind it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from vaelab.data.base import OrderedBatches, TrainingBatches
from vaelab.runtime.errors import UserError


def read_batch(batch: Any) -> tuple[Tensor, Tensor]:
    """Return the images and labels of a batch.

    Arguments:
        batch: x, (x,), (x, y), or a dict with x and optionally y. Images x (B, *shape) of uint8 are
            scaled to [0, 1]; floats are taken as they are.

    Returns:
        Images (B, *shape) and labels (B, ...); labels (B, 0) if the batch has none.

    Raises:
        UserError: If the batch has another form.
    """
    if isinstance(batch, Tensor):
        x, y = batch, None
    elif isinstance(batch, Mapping) and "x" in batch:
        x, y = batch["x"], batch.get("y")
    elif isinstance(batch, Sequence) and len(batch) in (1, 2):
        x, y = batch[0], batch[1] if len(batch) == 2 else None
    else:
        x, y = None, None
    if not isinstance(x, Tensor) or not isinstance(y, Tensor | None):
        raise UserError(
            f"a batch is {_describe_batch(batch)}: return a tensor of images x, (x,), (x, y), or a "
            "dict with the keys x and y from the data loader"
        )
    if x.dtype == torch.uint8:
        x = x / 255
    if not x.is_floating_point():
        raise UserError(f"images have dtype {x.dtype}: convert them to uint8 or float32")
    return x, x.new_zeros((len(x), 0), dtype=torch.int64) if y is None else y


def _describe_batch(batch: Any) -> str:
    name = type(batch).__name__
    if isinstance(batch, Mapping):
        return f"a {name} with the keys {', '.join(map(str, batch))}"
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        return f"a {name} of {', '.join(type(part).__name__ for part in batch)}"
    return f"of type {name}"


def count_images(loader: Any) -> int | None:
    """Return the number of images of a data loader's whole split, or None if it is unknown."""
    is_own = isinstance(loader, TrainingBatches | OrderedBatches)
    images = loader.split.images if is_own else None
    if images is None:
        images = getattr(loader, "dataset", None)
    try:
        return len(images)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):  # of an iterable
        return None


def count_new_images(loader: Any, batch_idx: int, images: int, rank: int, world_size: int) -> int:
    """Return how many images of an evaluation batch are not repetitions that pad the batches.

    Under DDP, every process must evaluate the same number of batches. Some images at the end of the
    data set are then repeated, and must not be counted twice.

    Arguments:
        loader: The data loader of this process.
        batch_idx: The number of the batch among those of this process.
        images: The number of its images; the repeated ones are the last.
    """
    if isinstance(loader, OrderedBatches):
        return images if batch_idx * world_size + rank < loader.num_batches else 0
    batches = getattr(loader, "batch_sampler", None)
    sampler, size = getattr(batches, "sampler", None), getattr(batches, "batch_size", None)
    if not isinstance(sampler, DistributedSampler) or size is None:
        return images
    whole = len(sampler.dataset)  # type: ignore[arg-type]
    own = len(range(sampler.rank, whole, sampler.num_replicas))
    return min(max(own - batch_idx * size, 0), images)
