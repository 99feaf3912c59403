"""Early stopping by the monitored value: `callbacks=[default,early_stopping]`."""

from typing import cast

from pytorch_lightning import LightningModule, Trainer, callbacks

from vaelab.module import VAEModule


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's EarlyStopping on the value that best.ckpt is chosen by.

    Validations that are not compared for best.ckpt, before the weight of the KL has arrived, do not
    count. See `vaelab.objectives.base.Objective`.

    Arguments:
        patience: The number of validations without an improvement after which to stop.
        min_delta: The least increase that counts as an improvement.
    """

    def __init__(self, patience: int = 10, min_delta: float = 0.0):
        # A fit may end before its first validation, without a monitored value.
        super().__init__("", min_delta, patience, mode="max", strict=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.monitor = cast(VAEModule, pl_module).objective.criterion
        super().setup(trainer, pl_module, stage)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if cast(VAEModule, pl_module).objective.has_arrived(trainer.global_step):
            super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if cast(VAEModule, pl_module).objective.has_arrived(trainer.global_step):
            super().on_train_epoch_end(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if the resumed run had been stopped by this callback."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= max(self.patience, 1)
