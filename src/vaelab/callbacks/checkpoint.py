"""Checkpoints: the best by validation, and the last."""

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint


class Checkpoint(ModelCheckpoint):
    """Keeps best.ckpt and last.ckpt in `folder`; without a validation set the best is the last.

    Arguments:
        monitor: The logged value that makes the best; larger is better.
    """

    def __init__(self, folder: str, monitor: str = "val/elbo"):
        super().__init__(
            folder,
            filename="best",
            monitor=monitor,
            mode="max",
            save_last=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not trainer.datamodule.validated:  # type: ignore[attr-defined]
            self.monitor = None
        super().setup(trainer, pl_module, stage)
