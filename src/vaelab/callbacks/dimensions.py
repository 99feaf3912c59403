"""Records the KL of each latent dimension during the training."""

from pathlib import Path
from typing import cast

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only

from vaelab.data.base import DataModule
from vaelab.figures.compute.base import get_held_out_split
from vaelab.figures.compute.dimensions import compute_kl_per_dimension
from vaelab.module import VAEModule
from vaelab.runs.history import KL_FILE, add_kl_row


class Dimensions(Callback):
    """Adds a row to the run's KL_FILE at every validation, or epoch without validation images.

    The row holds the mean KL of each dimension over at most 2,000 validation images, or test images
    if there are none. No file is written if only the KL of the whole z is known.

    Arguments:
        folder: The run folder.
    """

    def __init__(self, folder: str):
        self.path = Path(folder) / KL_FILE

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._add_row(trainer, pl_module)  # while averaged weights are in use

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.datamodule.has_validation:  # type: ignore[attr-defined]
            self._add_row(trainer, pl_module)

    @rank_zero_only
    def _add_row(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        kl = compute_kl_per_dimension(
            cast(VAEModule, pl_module).vae, data, get_held_out_split(data)
        )
        if kl:
            add_kl_row(self.path, trainer.current_epoch, trainer.global_step, kl)
