"""The scale of a likelihood that is fitted to the training images: loss.scale=optimal."""

from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.vae import VAE


def mean_calibration_error(vae: VAE, data: DataModule, seed: int) -> Tensor:
    """The mean deviation of a pixel over the training images, with z drawn from q(z|x)."""

    def compute(batch: EvaluationBatch) -> PerImage:
        mean = batch.model.decode(batch.model.encode(batch.x).rsample()).mean
        return {"deviation": vae.likelihood.error_statistic(batch.x - mean).flatten(1).mean(1)}

    return collect_per_image(vae, data, "train", compute, seed)["deviation"].double().mean()
