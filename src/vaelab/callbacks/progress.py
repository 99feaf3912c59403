"""The progress bar."""

from typing import Any, cast

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar

from vaelab.module import VAEModule


class Progress(TQDMProgressBar):
    """Lightning's progress bar with the latest training metrics and without a version number."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {**metrics, **cast(VAEModule, pl_module).latest}
