"""Stop when what the objective monitors no longer rises: `callbacks=[default,early_stopping]`."""

from typing import cast

from pytorch_lightning import LightningModule, Trainer, callbacks

from vaelab.module import VAEModule


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, of the value that best.ckpt is chosen by.

    Arguments:
        patience: Validations without a new best that it waits for.
        min_delta: How much a new best is above the old one, at least.
    """

    def __init__(self, patience: int = 10, min_delta: float = 0.0):
        # A fit that ends before its first validation has nothing to be judged by.
        super().__init__("", min_delta, patience, mode="max", strict=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.monitor = cast(VAEModule, pl_module).objective.monitor
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that goes on where it had been stopped already is at its end."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= max(self.patience, 1)
