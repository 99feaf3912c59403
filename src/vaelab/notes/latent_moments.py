"""A callback that records the posteriors of training images after every epoch, for note 13."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from vaelab.data.base import DataModule, choose_subset
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.module import VAEModule

FILE = "codes.npz"


class PosteriorSnapshot(NamedTuple):
    """The posteriors q(z|x) = N(mean, sd^2) of some training images at one point of the training.

    Attributes:
        step: Optimizer steps taken.
        kl_weight: Weight of the KL at this step.
        mean, sd: Parameters of the posteriors, each (images, latent_dim).
    """

    step: int
    kl_weight: float
    mean: np.ndarray
    sd: np.ndarray


class LatentMoments(Callback):
    """Record a snapshot before the first step and after each epoch; write codes.npz at the end.

    Arguments:
        images: Number of training images, a random subset that is always the same.
    """

    def __init__(self, images: int = 2000):
        self.images = images
        self.snapshots: list[PosteriorSnapshot] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._record(trainer, cast(VAEModule, pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._record(trainer, cast(VAEModule, pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        labels = data.splits["train"].labels
        labels = labels[choose_subset(len(labels), self.images)].numpy()
        columns = zip(*self.snapshots, strict=True)
        arrays: Any = dict(zip(PosteriorSnapshot._fields, map(np.array, columns), strict=True))
        np.savez(Path(trainer.default_root_dir, FILE), labels=labels, **arrays)

    def _record(self, trainer: Trainer, module: VAEModule) -> None:
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        training = module.vae.training
        moments = collect_per_image(
            module.vae, data, "train", _posterior_moments, images=self.images, title="encoding"
        )
        module.vae.train(training)
        weight = module.objective.kl.weight(trainer.global_step)  # type: ignore[union-attr]
        mean, sd = (moments[name].numpy() for name in ("mean", "sd"))
        self.snapshots.append(PosteriorSnapshot(trainer.global_step, weight, mean, sd))


def _posterior_moments(batch: EvaluationBatch) -> PerImage:
    """Return mean and standard deviation of q(z|x), each (B, latent_dim)."""
    q = batch.model.encode(batch.x)
    return {"mean": q.mean, "sd": q.variance.sqrt()}


def read_snapshots(folder: Path) -> tuple[list[PosteriorSnapshot], torch.Tensor]:
    """Read the snapshots of a run folder, and the labels (images,) of its images."""
    with np.load(folder / FILE) as arrays:
        columns = [arrays[name] for name in PosteriorSnapshot._fields]
        labels = torch.from_numpy(arrays["labels"])
    rows = zip(*columns, strict=True)
    snapshots = [PosteriorSnapshot(int(step), float(weight), *rest) for step, weight, *rest in rows]
    return snapshots, labels
