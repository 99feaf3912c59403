"""The training step without what Lightning does for modules unlike ours.

A step of a small VAE takes a few milliseconds, and Lightning's hooks, closures and result
collections around it one more. Here a step in one process, without gradient accumulation, a loss
scaler or callbacks that act inside the step, is the loop anybody would write by hand; what
callbacks do before and after it, the counters that checkpoints save, gradient clipping and the
schedule are as ever. All other steps are Lightning's own, and both kinds compute the same.
"""

from typing import Any, cast

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.plugins.precision import MixedPrecision

from vaelab.data.base import DataModule
from vaelab.module import VAEModule

# The hooks inside a step, which the short one has no room for.
WITHIN = (
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)


def use_short_loop(trainer: Trainer) -> None:
    """Let a trainer take the short way where it can."""
    trainer.fit_loop.epoch_loop.__class__ = ShortLoop


class ShortLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, with a short step."""

    def on_run_start(self, data_fetcher: Any) -> None:
        super().on_run_start(data_fetcher)
        trainer = self.trainer
        plugin = trainer.precision_plugin
        self.short = (
            trainer.world_size == 1
            and trainer.accumulate_grad_batches == 1
            and getattr(plugin, "scaler", None) is None
            and (plugin.precision == "32-true" or isinstance(plugin, MixedPrecision))
            and not any(_overriding(trainer, hook) for hook in WITHIN)
        )
        self.weights = list(trainer.lightning_module.parameters())
        self.starts = _overriding(trainer, "on_train_batch_start")
        self.ends = _overriding(trainer, "on_train_batch_end")

    def advance(self, data_fetcher: Any) -> None:
        if self.short and not self.restarting:
            self.val_loop.restarting = False  # its next validation is a new one
            self._step(data_fetcher)
        else:
            super().advance(data_fetcher)

    def _step(self, data_fetcher: Any) -> None:
        trainer, progress = self.trainer, self.batch_progress
        module = cast(VAEModule, trainer.lightning_module)
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        stored, _, _ = next(data_fetcher)
        number = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        device = trainer.strategy.root_device
        moved = [part.to(device, non_blocking=True) for part in stored]
        batch = data.on_after_batch_transfer(moved, 0)
        progress.increment_ready()
        for callback in self.starts:
            callback.on_train_batch_start(trainer, module, batch, number)
        progress.increment_started()

        loss = self._optimize(module, batch, number)

        progress.increment_processed()
        self.update_lr_schedulers("step", update_plateau_schedulers=False)
        for callback in self.ends:
            callback.on_train_batch_end(trainer, module, {"loss": loss}, batch, number)
        module.on_train_batch_end({"loss": loss}, batch, number)
        progress.increment_completed()

    def _optimize(self, module: VAEModule, batch: Any, number: int) -> Any:
        trainer = self.trainer
        optimizer = trainer.optimizers[0]
        with trainer.precision_plugin.forward_context():
            loss = module.training_step(batch, number)
        for weight in self.weights:
            weight.grad = None
        loss.backward()
        module.on_before_optimizer_step(optimizer)
        if trainer.gradient_clip_val:
            module.configure_gradient_clipping(
                optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm
            )
        optimizer.step()
        taken = self.automatic_optimization.optim_progress.optimizer
        taken.zero_grad.increment_by(1)
        taken.step.increment_by(1)
        return loss.detach()


def _overriding(trainer: Trainer, hook: str) -> list[Callback]:
    """The callbacks that do something in a hook."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [each for each in callbacks if getattr(type(each), hook) is not getattr(Callback, hook)]
