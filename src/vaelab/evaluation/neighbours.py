"""The part `neighbours`: are new images copies of training images?

Finds the nearest training image of each new image by its pixels. Since it needs no feature network,
it works where the part `samples` is missing.
"""

import torch
from torch import Tensor

from vaelab.data.base import OrderedBatches
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.new_images import generate_images, uses_pixel_samples
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.inference.image_grid import make_paired_grid
from vaelab.metrics.neighbours import NearestNeighbours, rms_distance
from vaelab.runs.metrics_file import EvaluationNumbers
from vaelab.runs.run import RunParts
from vaelab.runtime.distributed import merge_over_processes, progress_bar, rank_and_world_size
from vaelab.runtime.precision import to_double

MAX_FIGURE_IMAGES = 30
CHUNK_SIZE = 1000  # images for which the final distance is computed at once


@torch.no_grad()
def evaluate(run: RunParts, config: EvaluationConfig) -> EvaluationNumbers:
    """Compute the distances from new images and from the split to their nearest training images.

    Writes config.folder/nearest.png for image data: the first new images, each above its nearest
    training image.

    Returns:
        nearest_compared (draws or means of p(x|z)); nearest_train, the root mean squared difference
        of a pixel between a new image and its nearest training image, averaged over as many new
        images as the split has; nearest_train_of_test, the same for the images of the split. Copies
        are much nearer to training images than the split, which the model has not seen. Means are
        somewhat nearer because they are blurred.

    Raises:
        NotApplicable: If the data have missing values.
    """

    if run.data.has_missing:
        raise NotApplicable("this part compares whole images, but the data have missing values")

    def get_images(batch: EvaluationBatch) -> PerImage:
        return {"x": batch.x}

    x = collect_per_image(
        run.vae, run.data, config.split, get_images, config.seed, config.images, title="reading"
    )
    device = next(run.vae.parameters()).device
    own, new = x["x"].to(device), generate_images(run, config, len(x["x"])).to(device)
    batches = run.data.batches("train")
    nearest_new, nearest_own = _find_nearest(run, batches, [new, own])
    numbers: EvaluationNumbers = {
        "nearest_compared": "draws" if uses_pixel_samples(run) else "means",
        "nearest_train": _mean_distance(run, batches, new, nearest_new),
    }
    if config.split != "train":
        numbers["nearest_train_of_test"] = _mean_distance(run, batches, own, nearest_own)
    has_images = len(run.data.shape) == 3 and run.data.shape[0] in (1, 3)
    if config.folder and has_images and rank_and_world_size()[0] == 0:
        config.folder.mkdir(parents=True, exist_ok=True)
        first = _load_training_images(run, batches, nearest_new[:MAX_FIGURE_IMAGES])
        grid = make_paired_grid(new[:MAX_FIGURE_IMAGES].cpu(), first.cpu(), 10)
        grid.save(config.folder / "nearest.png")
    return numbers


def _find_nearest(run: RunParts, batches: OrderedBatches, sets: list[Tensor]) -> list[Tensor]:
    """Return, for each set of images, the indices of their nearest training images."""
    searches, device = [NearestNeighbours(images) for images in sets], sets[0].device
    bar = progress_bar(batches, "nearest of train")
    for number, (x, _, index) in zip(batches.batch_numbers, bar, strict=True):
        if number < batches.num_batches:
            others = run.data.prepare(x.to(device), index=index)
            for search in searches:
                search.update(others, number * batches.size)
    own = [(search.distance.cpu(), search.index.cpu()) for search in searches]
    for nearest in merge_over_processes({rank_and_world_size()[0]: own}).values():
        for search, (distance, index) in zip(searches, nearest, strict=True):
            search.merge(slice(None), distance.to(device), index.to(device))
    return [search.index for search in searches]


def _mean_distance(
    run: RunParts, batches: OrderedBatches, images: Tensor, nearest: Tensor
) -> float:
    """Compute the mean RMS distance between images and the training images of these indices."""
    chunks = zip(images.split(CHUNK_SIZE), nearest.split(CHUNK_SIZE), strict=True)
    distances = [rms_distance(x, _load_training_images(run, batches, i)) for x, i in chunks]
    return to_double(torch.cat(distances)).mean().item()


def _load_training_images(run: RunParts, batches: OrderedBatches, index: Tensor) -> Tensor:
    """Return the training images of these indices, on the device of the indices."""
    return run.data.prepare(batches.split.images[index.cpu()].to(index.device), index=index)
