"""Whether new images are copies: the nearest training image of each, by its pixels.

It needs no net, so it is a part of its own, there where that of the samples is absent.
"""

from typing import Any

import torch
from torch import Tensor

from vaelab.data.base import WholeBatches
from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.new_images import generate_images, uses_pixel_samples
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.inference.image_grid import paired_grid
from vaelab.metrics.neighbours import NearestNeighbours, rms_distance
from vaelab.runs.run import Run
from vaelab.runtime.distributed import merge_over_processes, progress_bar, rank_and_world_size

PICTURED = 30
AT_ONCE = 1000  # images that are compared exactly


@torch.no_grad()
def evaluate(run: Run, asked: EvaluationConfig) -> dict[str, Any]:
    """How far new images and those of the split are from the nearest training image.

    Of pictures, asked.folder/nearest.png has the first ones above theirs.

    Returns:
        nearest_compared (draws or means of p(x|z)), nearest_train and nearest_train_of_test: the
        root of the mean squared difference of a pixel, its mean over as many samples as the split
        has images, and over these. Copies are far nearer than these, which the model never saw;
        means are somewhat nearer already because they are blurred.
    """

    def read(batch: EvaluationBatch) -> PerImage:
        return {"x": batch.x}

    x = collect_per_image(
        run.vae, run.data, asked.split, read, asked.seed, asked.images, title="reading"
    )
    device = next(run.vae.parameters()).device
    own, new = x["x"].to(device), generate_images(run, asked, len(x["x"])).to(device)
    batches = run.data.batches("train")
    nearest_new, nearest_own = _indices(run, batches, [new, own])
    numbers = {
        "nearest_compared": "draws" if uses_pixel_samples(run) else "means",
        "nearest_train": _mean_distance(run, batches, new, nearest_new),
    }
    if asked.split != "train":
        numbers["nearest_train_of_test"] = _mean_distance(run, batches, own, nearest_own)
    pictures = len(run.data.shape) == 3 and run.data.shape[0] in (1, 3)
    if asked.folder and pictures and rank_and_world_size()[0] == 0:
        some = nearest_new[:PICTURED]
        asked.folder.mkdir(parents=True, exist_ok=True)
        picture = paired_grid(new[:PICTURED].cpu(), _training(run, batches, some).cpu(), 10)
        picture.save(asked.folder / "nearest.png")
    return numbers


def _indices(run: Run, batches: WholeBatches, sets: list[Tensor]) -> list[Tensor]:
    """The numbers of the training images that are nearest to those of each set."""
    searches, device = [NearestNeighbours(images) for images in sets], sets[0].device
    bar = progress_bar(batches, "nearest of train")
    for number, (x, _) in zip(batches.numbers, bar, strict=True):
        if number < batches.total:
            others = run.data.prepare(x.to(device))
            for search in searches:
                search.update(others, number * batches.size)
    own = [(search.distance.cpu(), search.index.cpu()) for search in searches]
    for found in merge_over_processes({rank_and_world_size()[0]: own}).values():
        for search, (distance, index) in zip(searches, found, strict=True):
            search.take(slice(None), distance.to(device), index.to(device))
    return [search.index for search in searches]


def _mean_distance(run: Run, batches: WholeBatches, images: Tensor, nearest: Tensor) -> float:
    parts = zip(images.split(AT_ONCE), nearest.split(AT_ONCE), strict=True)
    apart = [rms_distance(x, _training(run, batches, index)) for x, index in parts]
    return torch.cat(apart).double().mean().item()


def _training(run: Run, batches: WholeBatches, index: Tensor) -> Tensor:
    """The training images of these numbers, on their device."""
    return run.data.prepare(batches.split.images[index.cpu()].to(index.device))
