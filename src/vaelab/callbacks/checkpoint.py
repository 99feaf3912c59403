"""Checkpoints of the best and of the last weights."""

import math
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer, callbacks

from vaelab.module import VAEModule
from vaelab.runtime.errors import TrainingStopped, UserError
from vaelab.runtime.files import atomic_write
from vaelab.runtime.own_project import format_resume_command
from vaelab.runtime.private_api import accumulates_gradients
from vaelab.runtime.slurm import stop_signals

MAX_SYNC_STEPS = 50  # steps between two exchanges of received signals by all processes
MAX_SYNC_SECONDS = 5.0  # seconds between two exchanges, if steps are slow


class Checkpoint(callbacks.Checkpoint):
    """Keeps best.ckpt and last.ckpt in `folder`; both hold the complete training state.

    The best checkpoint has the largest value of the objective's criterion among the validations
    that count: those after a step with the final weight of the KL. Until the first of them, and
    without validation images, the best checkpoint is the last one. Both are written at the end of
    an epoch. After SIGTERM or SIGUSR1, last.ckpt is written at the end of the current step, and the
    training stops.

    Arguments:
        folder: The folder of the checkpoints.
        minutes: Also write last.ckpt within an epoch, in this interval; None does not.

    Raises:
        UserError: If `minutes` is not positive.
    """

    def __init__(self, folder: str, minutes: float | None = None):
        if minutes is not None and not minutes > 0:
            raise UserError(f"callbacks.checkpoint.minutes={minutes}: it must be positive, or null")
        self.folder = Path(folder)
        self.seconds = math.inf if minutes is None else 60 * minutes
        self.criterion: str | None = None  # of best_score
        self.best_score: float | None = None  # None until a validation counts
        self.best_value: float | None = None  # what the objective monitors, at the best weights
        self.score: float | None = None  # of the last validation in this epoch, if it counts
        self.value: float | None = None  # what the objective monitors, of that validation
        self.signal = 0  # the signal received, 0 for none
        self.due = math.inf

    @property
    def has_chosen(self) -> bool:
        """True if a validation has counted, so that best.ckpt is not merely the last one."""
        return self.best_score is not None

    def state_dict(self) -> dict[str, Any]:
        names = ("criterion", "best_score", "best_value", "score", "value")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Older checkpoints have no score, and those without a criterion used the monitored value.
        self.criterion = state_dict.get("criterion")
        self.best_score, self.score = state_dict["best_score"], state_dict.get("score")
        self.best_value = state_dict.get("best_value", self.best_score)
        self.value = state_dict.get("value", self.score)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        objective = cast(VAEModule, pl_module).objective
        if (self.criterion or objective.monitor) != objective.criterion:
            self.best_score = self.score = None  # not comparable
        self.criterion = objective.criterion
        self.due = time.monotonic() + self.seconds
        self.synced_at = trainer.global_step, time.monotonic()  # steps and seconds
        self.next_sync = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():  # Lightning restores the handlers after the fit
                signal.signal(number, self._record_signal)

    def _record_signal(self, number: int, frame: Any) -> None:
        if self.signal == number == signal.SIGINT:  # a second Ctrl-C does not wait for the step
            raise KeyboardInterrupt
        self.signal = number

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if accumulates_gradients(trainer) or _is_validated_next(trainer, batch_idx):
            return  # a checkpoint cannot hold accumulated gradients; a validation comes first
        self._save_if_due(trainer)

    def _save_if_due(self, trainer: Trainer) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return  # on_train_epoch_end saves
        stop_signal, is_due = self._sync_processes(trainer)
        if stop_signal or is_due:
            trainer.save_checkpoint(self.folder / "last.ckpt", weights_only=False)
            self.due = time.monotonic() + self.seconds
        if stop_signal:
            resume = format_resume_command(self.folder.parent)
            raise TrainingStopped(stop_signal, resume, trainer.global_step)

    def _sync_processes(self, trainer: Trainer, now: bool = False) -> tuple[int, bool]:
        """Return the received signal and whether a checkpoint is due, equal in all processes.

        The processes exchange this at intervals only, because each waits for the slowest.
        """
        own = self.signal, time.monotonic() > self.due
        if trainer.world_size == 1:
            return own
        step, seconds = trainer.global_step, time.monotonic()
        if not now and step < self.next_sync:
            return 0, False
        step_seconds = (seconds - self.synced_at[1]) / max(step - self.synced_at[0], 1)
        values = torch.tensor([*own, step_seconds], device=trainer.strategy.root_device)
        torch.distributed.all_reduce(values, torch.distributed.ReduceOp.MAX)
        number, is_due, step_seconds = values.tolist()
        self.synced_at = step, seconds
        shortest = MAX_SYNC_SECONDS / MAX_SYNC_STEPS
        self.next_sync = step + max(1, int(MAX_SYNC_SECONDS / max(step_seconds, shortest)))
        return int(number), bool(is_due)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        objective = cast(VAEModule, pl_module).objective
        self.value = trainer.callback_metrics[objective.monitor].item()
        counts = objective.has_arrived(trainer.global_step)
        self.score = trainer.callback_metrics[objective.criterion].item() if counts else None
        self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        best, last = self.folder / "best.ckpt", self.folder / "last.ckpt"
        is_best = self._update_best_score()
        self.score = self.value = None
        if is_best:
            trainer.save_checkpoint(best, weights_only=False)
            if trainer.is_global_zero:
                _copy_file(best, last)
        else:
            trainer.save_checkpoint(last, weights_only=False)
        stop_signal, _ = self._sync_processes(trainer, now=True)
        if stop_signal:
            resume = format_resume_command(self.folder.parent)
            raise TrainingStopped(stop_signal, resume, trainer.global_step)

    def _update_best_score(self) -> bool:
        """Return True if the weights of this epoch are the best so far, or none counts yet."""
        score = math.nan if self.score is None else self.score
        if score > (-math.inf if self.best_score is None else self.best_score):
            self.best_score = score
        elif self.best_score is not None:
            return False
        self.best_value = self.value
        return True


def _is_validated_next(trainer: Trainer, batch_idx: int) -> bool:
    """True if a validation follows this batch, within the epoch or at its end."""
    every, epochs = trainer.val_check_batch, trainer.check_val_every_n_epoch
    if not trainer.enable_validation or every is None:
        return False
    if epochs is None:  # batches are counted over all epochs
        return (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % every == 0
    return (trainer.current_epoch + 1) % epochs == 0 and (batch_idx + 1) % every == 0


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file; with a link, a damaged block on the disk would damage both checkpoints."""
    with atomic_write(target) as part:
        shutil.copyfile(source, part)
