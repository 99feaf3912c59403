"""The scale of a likelihood that is fitted to the training images: loss.scale=optimal."""

from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.inference.batches import Batch, Found, collect
from vaelab.vae import VAE


def deviation(vae: VAE, data: DataModule, seed: int) -> Tensor:
    """The mean deviation of a pixel over the training images, with z drawn from q(z|x)."""

    def compute(batch: Batch) -> Found:
        mean = batch.model.decode(batch.model.encode(batch.x).rsample()).mean
        return {"deviation": vae.likelihood.deviation(batch.x - mean).flatten(1).mean(1)}

    return collect(vae, data, "train", compute, seed)["deviation"].double().mean()
