"""Checkpoints: the best by validation, and the last."""

from pathlib import Path
from typing import cast

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from vaelab.module import VAEModule


class Checkpoint(ModelCheckpoint):
    """Keeps best.ckpt and last.ckpt in `folder`.

    The best is the one with the largest value of what the objective monitors; where nothing is
    validated it is the last. Lightning's own save_last keeps the last of those that were best.
    """

    on_train_batch_end = Callback.on_train_batch_end  # it saves at the end of epochs only

    def __init__(self, folder: str):
        super().__init__(
            folder,
            filename="best",
            mode="max",
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self.last = Path(folder) / "last.ckpt"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.datamodule.validated:  # type: ignore[attr-defined]
            self.monitor = cast(VAEModule, pl_module).objective.monitor
        super().setup(trainer, pl_module, stage)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        trainer.save_checkpoint(self.last, weights_only=False)
