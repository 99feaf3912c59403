"""What each latent dimension costs, epoch by epoch."""

from pathlib import Path
from typing import cast

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only

from vaelab.data.base import DataModule
from vaelab.figures.compute.base import held_out_split
from vaelab.figures.compute.dimensions import kl_by_dimension
from vaelab.module import VAEModule
from vaelab.runs.history import KL_FILE, add_kl_row


class Dimensions(Callback):
    """Adds a row to the KL_FILE of the run at every validation, or epoch if none is validated.

    It holds the mean KL over at most 2,000 images of the validation, or of the test if there is
    none; no file is written where only the KL of the whole z is known.

    Arguments:
        folder: Of the run.
    """

    def __init__(self, folder: str):
        self.path = Path(folder) / KL_FILE

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._add(trainer, pl_module)  # while averaged weights are in place

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.datamodule.has_validation:  # type: ignore[attr-defined]
            self._add(trainer, pl_module)

    @rank_zero_only
    def _add(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        kl = kl_by_dimension(cast(VAEModule, pl_module).vae, data, held_out_split(data))
        if kl:
            add_kl_row(self.path, trainer.current_epoch, trainer.global_step, kl)
