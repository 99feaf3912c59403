"""Where the codes of the training images are, epoch by epoch, for note 13."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from vaelab.data.base import DataModule
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.module import VAEModule

FILE = "codes.npz"


class Moment(NamedTuple):
    """q(z|x) = N(mean, sd^2) of the first training images after so many optimizer steps."""

    step: int
    kl_weight: float
    mean: np.ndarray
    sd: np.ndarray


class LatentMoments(Callback):
    """Writes codes.npz into a run's folder: a Moment before the first step and after each epoch.

    Arguments:
        images: The first so many training images.
    """

    def __init__(self, images: int = 2000):
        self.images = images
        self.moments: list[Moment] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note(trainer, cast(VAEModule, pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note(trainer, cast(VAEModule, pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        labels = data.splits["train"].labels[: self.images].numpy()
        columns = zip(*self.moments, strict=True)
        arrays: Any = dict(zip(Moment._fields, map(np.array, columns), strict=True))
        np.savez(Path(trainer.default_root_dir, FILE), labels=labels, **arrays)

    def _note(self, trainer: Trainer, module: VAEModule) -> None:
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        training = module.vae.training
        found = collect_per_image(
            module.vae, data, "train", _normal, images=self.images, title="codes of"
        )
        module.vae.train(training)
        weight = module.objective.kl.weight(trainer.global_step)  # type: ignore[union-attr]
        mean, sd = (found[name].numpy() for name in ("mean", "sd"))
        self.moments.append(Moment(trainer.global_step, weight, mean, sd))


def _normal(batch: EvaluationBatch) -> PerImage:
    q = batch.model.encode(batch.x)
    return {"mean": q.mean, "sd": q.variance.sqrt()}


def read_moments(folder: Path) -> tuple[list[Moment], torch.Tensor]:
    """The moments of a run, and the labels of its images."""
    with np.load(folder / FILE) as arrays:
        columns = [arrays[name] for name in Moment._fields]
        labels = torch.from_numpy(arrays["labels"])
    rows = zip(*columns, strict=True)
    return [Moment(int(step), float(weight), *rest) for step, weight, *rest in rows], labels
