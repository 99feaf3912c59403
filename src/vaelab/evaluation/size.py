"""The size of the evaluation that ends a run: how many test images, and how many samples of each.

It follows from the length of the training and from the data set. It depends neither on the seed nor
on measured times, so a run that is repeated or resumed is evaluated on the same images, and so are
runs of equal length.
"""

from typing import NamedTuple

from omegaconf import DictConfig

from vaelab.evaluation.base import EvaluationConfig
from vaelab.runs.config_check import AUTO

MAX_SHARE = 1 / 5  # of the training, which the evaluation may cost
TRAINING_PASSES = 3  # a backward pass costs about as much as two forward passes
DECODER_PASSES = 1 / 2  # of a pass through encoder and decoder
IMAGE_COUNTS = (1000, 500, 200, 100)
LEAST_IMAGES = 500  # with fewer, fewer samples are used instead
SAMPLE_COUNTS = (100, 10)


class EvaluationSize(NamedTuple):
    """The number of test images, None for all, and of importance samples per image."""

    images: int | None
    samples: int


def choose_evaluation_size(
    trained: int, available: int, images: int | str | None = AUTO, samples: int | str = AUTO
) -> EvaluationSize:
    """Choose an evaluation that costs about a fifth of the training, or less.

    A training image costs three passes through encoder and decoder. An evaluated image costs a
    pass for the ELBO, and one through the decoder for the reconstruction and for each sample.

    Arguments:
        trained: The number of images in all optimizer steps of the training.
        available: The number of test images.
        images: A number, None for all, or auto: at most 1,000.
        samples: A number, or auto: 100, or 10 if 100 samples would leave fewer than 500 images.
    """
    budget = MAX_SHARE * TRAINING_PASSES * trained
    most = available if images is None else IMAGE_COUNTS[0] if images == AUTO else int(images)
    most = min(most, available)
    if samples == AUTO:
        least = min(LEAST_IMAGES, most) if images == AUTO else most
        many, few = SAMPLE_COUNTS
        samples = many if least * _count_passes(many) <= budget else few
    if images != AUTO:
        return EvaluationSize(images if images is None else int(images), int(samples))
    affordable = budget / _count_passes(int(samples))
    count = next((count for count in IMAGE_COUNTS if count <= affordable), IMAGE_COUNTS[-1])
    return EvaluationSize(min(count, available), int(samples))


def _count_passes(samples: int) -> float:
    return 1 + DECODER_PASSES * (1 + samples)


def configure_run_evaluation(cfg: DictConfig, trained: int, available: int) -> EvaluationConfig:
    """Return the evaluation that ends a run of this config; see `choose_evaluation_size`.

    The configs of older runs have no `evaluate`: they evaluate all images, with their own seed.
    """
    settings = cfg.get("evaluate")
    if settings is None:
        return EvaluationConfig(samples=cfg.samples, seed=cfg.seed)
    size = choose_evaluation_size(trained, available, settings.images, settings.samples)
    calibration = max(IMAGE_COUNTS[0], int(MAX_SHARE / 2 * trained))
    return EvaluationConfig(
        images=size.images, samples=size.samples, calibration_images=calibration
    )
