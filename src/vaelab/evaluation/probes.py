"""What the codes know of the labels: the part `codes` of an evaluation."""

import copy
from typing import Any

from vaelab.data.base import DataModule, Split
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.inference.batches import collect_latents
from vaelab.metrics.probes import LabelledLatents, clustering, knn, linear_probe, majority
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, derive_seed

FITTED = 10_000  # codes of training images, at most


def evaluate(run: Run, asked: EvaluationConfig) -> dict[str, Any]:
    """Accuracies on the codes of the split, the means of q(z|x), of what training codes fit.

    Returns:
        linear_probe, knn and clustering, accuracies between 0 and 1, and `majority`, that of the
        commonest label; of attributes, their means. probe_images, the codes that were fitted, at
        most FITTED. Fitted to the split that they are scored on (train) they say too much.
    """
    _check(run)
    fitted, new = fitted_and_new(run, asked)
    varied = fitted.varied
    if not varied.any():
        raise NotApplicable("all images have the same label: probes tell two or more apart")
    fitted, new = fitted.only(varied), new.only(varied)
    return {
        "linear_probe": linear_probe(fitted, new),
        "knn": knn(fitted, new),
        "clustering": clustering(fitted, new, derive_seed(Stream.PROBES, asked.seed)),
        "majority": majority(fitted, new),
        "probe_images": len(fitted.codes),
    }


def _check(run: Run) -> None:
    labels = run.data.splits["train"].labels
    if labels.numel() == 0:
        raise NotApplicable("the images have no labels: probes read classes")
    if labels.is_floating_point():
        raise NotApplicable("the labels are measurements: probes read classes, whole numbers")
    if 2 * max(len(y.unique()) for y in labels.reshape(len(labels), -1).T) > len(labels):
        raise NotApplicable("most labels are of one image: probes read classes of several")
    if run.vae.conditional:
        raise NotApplicable("the encoder was told the labels: probes are for a model that was not")


def fitted_and_new(run: Run, asked: EvaluationConfig) -> tuple[LabelledLatents, LabelledLatents]:
    """Codes and labels of up to FITTED training images, and of the split."""
    train = _thinned(run.data, "train", FITTED)
    found = collect_latents(run.vae, train, "train", asked.seed)
    new = collect_latents(run.vae, run.data, asked.split, asked.seed, asked.images)
    return LabelledLatents(found["mean"], found["labels"]), LabelledLatents(
        new["mean"], new["labels"]
    )


def _thinned(data: DataModule, split: str, images: int) -> DataModule:
    """The same data with at most so many images of a split, from all over it: some are sorted."""
    thin = copy.copy(data)
    step = -(-len(data.splits[split].images) // images)
    thin.splits = data.splits | {split: Split(*(part[::step] for part in data.splits[split]))}
    thin.bits_sha256 = dict(data.bits_sha256)
    return thin
