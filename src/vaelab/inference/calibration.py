"""Calibration of a likelihood scale on the training images, for loss.scale=optimal."""

import torch
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.vae import VAE


def compute_mean_error_statistic(
    vae: VAE, data: DataModule, seed: int, images: int | None = None
) -> Tensor:
    """Compute the statistic of reconstruction errors from which a likelihood sets its scale.

    It is the mean of `likelihood.error_statistic` (squared errors for a Gaussian, absolute errors
    for a Laplace) over all observed pixels of the training images, with z sampled from q(z|x).

    Arguments:
        images: The size of a random subset of the training images; None means all.
    """

    def compute(batch: EvaluationBatch) -> PerImage:
        mean = batch.model.decode(batch.model.encode(batch.x).rsample()).mean
        errors = vae.likelihood.error_statistic(batch.x - mean)
        return mean_of_observed(batch.x, errors, "statistic")

    statistics = collect_per_image(vae, data, "train", compute, seed, images)
    return statistics["statistic"].double().mean() / statistics["observed"].double().mean()


def mean_of_observed(x: Tensor, values: Tensor, name: str) -> PerImage:
    """Average the values of observed pixels, so that images with more of them count for more.

    Arguments:
        x: Images (B, *shape), NaN where a value is missing.
        values: (B, *shape).

    Returns:
        The sum of the values of each image (B,) over its number of pixels under `name`, and the
        fraction of observed pixels under `observed`; a mean is the ratio of their means.
    """
    observed = ~x.isnan()
    sums = torch.where(observed, values, 0).flatten(1).mean(1)
    return {name: sums, "observed": observed.flatten(1).to(sums.dtype).mean(1)}
