"""A training step without the overhead of Lightning's general loop.

A step of a small VAE takes a few milliseconds, and Lightning's hooks, closures and result
collections take one more. `ShortLoop` runs a step as a hand-written loop would when there is one
process, no gradient accumulation, no loss scaler, no profiler and no callback that acts inside the
step. The callbacks around a step, the counters in checkpoints, gradient clipping and schedules are
unchanged. Every other step is Lightning's own, and both kinds compute the same values.
"""

from typing import Any, cast

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.profilers import PassThroughProfiler

from vaelab.data.base import DataModule
from vaelab.runtime.private_api import TrainingEpochLoop
from vaelab.training.base import Batch, TrainableModule

HOOKS_INSIDE_A_STEP = (
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)


def use_short_loop(trainer: Trainer) -> None:
    """Replace a trainer's loop over the batches of an epoch by a `ShortLoop`."""
    loop = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = ShortLoop(trainer, loop.min_steps, loop.max_steps)


class ShortLoop(TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, with a short step where it is possible."""

    def on_run_start(self, data_fetcher: Any) -> None:
        super().on_run_start(data_fetcher)
        trainer = self.trainer
        plugin = trainer.precision_plugin
        self.is_short = (
            trainer.world_size == 1
            and trainer.accumulate_grad_batches == 1
            and getattr(plugin, "scaler", None) is None
            and (plugin.precision == "32-true" or isinstance(plugin, MixedPrecision))
            and not any(_callbacks_with(trainer, hook) for hook in HOOKS_INSIDE_A_STEP)
            and isinstance(trainer.profiler, PassThroughProfiler)  # type: ignore[attr-defined]
        )
        self.weights = list(trainer.lightning_module.parameters())
        self.start_callbacks = _callbacks_with(trainer, "on_train_batch_start")
        self.end_callbacks = _callbacks_with(trainer, "on_train_batch_end")

    def advance(self, data_fetcher: Any) -> None:
        if self.is_short and not self.restarting:
            self.val_loop.restarting = False  # the next validation starts from its first batch
            self._run_step(data_fetcher)
        else:
            super().advance(data_fetcher)

    def _run_step(self, data_fetcher: Any) -> None:
        trainer, progress = self.trainer, self.batch_progress
        module = cast(TrainableModule, trainer.lightning_module)
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        stored, _, _ = next(data_fetcher)
        number = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        device = trainer.strategy.root_device
        moved = [part.to(device, non_blocking=True) for part in stored]
        batch = data.on_after_batch_transfer(moved, 0)
        progress.increment_ready()
        for callback in self.start_callbacks:
            callback.on_train_batch_start(trainer, module, batch, number)
        progress.increment_started()

        loss = self._optimize(module, batch, number)

        progress.increment_processed()
        self.update_lr_schedulers("step", update_plateau_schedulers=False)
        if progress.is_last_batch or progress.current.ready == trainer.num_training_batches:
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        for callback in self.end_callbacks:
            callback.on_train_batch_end(trainer, module, {"loss": loss}, batch, number)
        module.on_train_batch_end({"loss": loss}, batch, number)
        progress.increment_completed()

    def _optimize(self, module: TrainableModule, batch: Batch, number: int) -> Any:
        trainer = self.trainer
        optimizer = trainer.optimizers[0]
        with trainer.precision_plugin.forward_context():
            loss: Any = module.training_step(batch, number)
        for weight in self.weights:
            weight.grad = None
        loss.backward()
        module.on_before_optimizer_step(optimizer)
        if trainer.gradient_clip_val:
            module.configure_gradient_clipping(
                optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm
            )
        optimizer.step()
        counters = self.automatic_optimization.optim_progress.optimizer
        counters.zero_grad.increment_by(1)
        counters.step.increment_by(1)
        return loss.detach()


def _callbacks_with(trainer: Trainer, hook: str) -> list[Callback]:
    """Return the callbacks that override a hook."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [each for each in callbacks if getattr(type(each), hook) is not getattr(Callback, hook)]
