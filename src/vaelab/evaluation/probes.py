"""The part `codes`: how well simple classifiers (probes) predict labels from latents."""

import copy

from vaelab.data.base import DataModule, Split
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.inference.batches import collect_latents
from vaelab.metrics.probes import LabelledLatents, clustering, knn, linear_probe, majority
from vaelab.runs.metrics_file import EvaluationNumbers
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, derive_seed

MAX_TRAINING_LATENTS = 10_000  # to which probes are fitted


def evaluate(run: RunParts, config: EvaluationConfig) -> EvaluationNumbers:
    """Fit probes to latents of training images and compute their accuracies on the split.

    The latents are the means of q(z|x). On --split train the accuracies are too high, since the
    probes are scored on the images they were fitted to.

    Returns:
        linear_probe, knn and clustering, accuracies between 0 and 1, and majority, the accuracy of
        always predicting the most frequent label. For binary attributes, they are means over the
        attributes that vary. probe_images, the number of training latents.

    Raises:
        NotApplicable: If labels are missing, constant or no classes, or the encoder receives them.
    """
    _check_labels(run)
    training, split = collect_training_and_split_latents(run, config)
    varying = training.varying
    if not varying.any():
        raise NotApplicable("all images have the same label: probes need at least two labels")
    training, split = training.select(varying), split.select(varying)
    return {
        "linear_probe": linear_probe(training, split),
        "knn": knn(training, split),
        "clustering": clustering(training, split, derive_seed(Stream.PROBES, config.seed)),
        "majority": majority(training, split),
        "probe_images": len(training.latents),
    }


def _check_labels(run: RunParts) -> None:
    labels = run.data.splits["train"].labels
    if labels.numel() == 0:
        raise NotApplicable("the images have no labels, which probes predict")
    if labels.is_floating_point():
        raise NotApplicable("the labels are real numbers: probes predict classes, integers")
    if 2 * max(len(y.unique()) for y in labels.reshape(len(labels), -1).T) > len(labels):
        raise NotApplicable("most labels belong to one image: probes need several images per class")
    if run.vae.conditional:
        raise NotApplicable("the encoder receives the labels, so probes are meaningless")


def collect_training_and_split_latents(
    run: RunParts, config: EvaluationConfig
) -> tuple[LabelledLatents, LabelledLatents]:
    """Encode up to MAX_TRAINING_LATENTS training images, and the images of the split.

    Returns:
        The means of q(z|x) and the labels of both.
    """
    data = _subsample_split(run.data, "train", MAX_TRAINING_LATENTS)
    training = collect_latents(run.vae, data, "train", config.seed)
    split = collect_latents(run.vae, run.data, config.split, config.seed, config.images)
    return (
        LabelledLatents(training["mean"], training["labels"]),
        LabelledLatents(split["mean"], split["labels"]),
    )


def _subsample_split(data: DataModule, split: str, images: int) -> DataModule:
    """Return a copy of the data with at most so many images of a split.

    They are evenly spaced, since some data sets are sorted by label.
    """
    subsampled = copy.copy(data)
    step = -(-len(data.splits[split].images) // images)
    part = Split(*(values[::step] for values in data.splits[split]))
    subsampled.splits = data.splits | {split: part}
    subsampled.bits_sha256 = dict(data.bits_sha256)
    return subsampled
