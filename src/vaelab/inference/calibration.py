"""Calibration of a likelihood scale on the training images, for loss.scale=optimal."""

from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.vae import VAE


def compute_mean_error_statistic(
    vae: VAE, data: DataModule, seed: int, images: int | None = None
) -> Tensor:
    """Compute the statistic of reconstruction errors from which a likelihood sets its scale.

    It is the mean of `likelihood.error_statistic` (squared errors for a Gaussian, absolute errors
    for a Laplace) over all pixels of the training images, with z sampled from q(z|x).

    Arguments:
        images: The size of a random subset of the training images; None means all.
    """

    def compute(batch: EvaluationBatch) -> PerImage:
        mean = batch.model.decode(batch.model.encode(batch.x).rsample()).mean
        return {"statistic": vae.likelihood.error_statistic(batch.x - mean).flatten(1).mean(1)}

    statistics = collect_per_image(vae, data, "train", compute, seed, images)
    return statistics["statistic"].double().mean()
