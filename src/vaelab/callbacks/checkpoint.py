"""Checkpoints: the best by validation, and the last."""

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
from vaelab.runtime.errors import TrainingStopped
from vaelab.runtime.files import atomic_write
from vaelab.runtime.slurm import stop_signals

AGREE = 50  # steps, at most, from one time that processes tell each other of a signal to the next
SOON = 5.0  # seconds from one to the next, where steps take longer


class Checkpoint(callbacks.Checkpoint):
    """Keeps best.ckpt and last.ckpt in `folder`, whole training states both.

    The best is the one with the largest value of what the objective monitors; where nothing is
    validated it is the last. Both are written at the end of an epoch. SIGTERM and SIGUSR1 have
    last.ckpt written after the step they come in, and end the training.

    Arguments:
        minutes: After so many, last.ckpt is also written within an epoch; null is never.
    """

    def __init__(self, folder: str, minutes: float | None = None):
        if minutes is not None and not minutes > 0:
            raise ValueError(f"callbacks.checkpoint.minutes={minutes}: it must be above 0, or null")
        self.folder = Path(folder)
        self.seconds = math.inf if minutes is None else 60 * minutes
        self.best_score: float | None = None
        self.score: float | None = None  # of the last validation in this epoch
        self.signal = 0  # that has come
        self.due = math.inf

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "score": self.score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score = state_dict["best_score"]
        self.score = state_dict.get("score")  # which an older one has not

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.due = time.monotonic() + self.seconds
        self.asked, self.asks_at = (trainer.global_step, time.monotonic()), trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():  # Lightning, which is later than setup, gives them back
                signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.signal = number

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate() or _validates(trainer, batch_idx):
            return  # gradients that wait for others are never saved; a validation comes first
        self._save_if_wanted(trainer)

    def _save_if_wanted(self, trainer: Trainer) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return  # the end of the epoch saves
        stop, due = self._wanted(trainer)
        if stop or due:
            trainer.save_checkpoint(self.folder / "last.ckpt", weights_only=False)
            self.due = time.monotonic() + self.seconds
        if stop:
            raise TrainingStopped(stop, trainer.global_step, self.folder.parent)

    def _wanted(self, trainer: Trainer, now: bool = False) -> tuple[int, bool]:
        """The signal to stop by, and whether it is time to save: the same in all processes.

        They only ask each other now and then, since each would wait for the slowest.
        """
        wanted = self.signal, time.monotonic() > self.due
        if trainer.world_size == 1:
            return wanted
        step, time_now = trainer.global_step, time.monotonic()
        if not now and step < self.asks_at:
            return 0, False
        a_step = (time_now - self.asked[1]) / max(step - self.asked[0], 1)
        most = torch.tensor([*wanted, a_step], device=trainer.strategy.root_device)
        torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
        number, due, a_step = most.tolist()
        self.asked = step, time_now
        self.asks_at = step + max(1, int(SOON / max(a_step, SOON / AGREE)))
        return int(number), bool(due)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        monitor = cast(VAEModule, pl_module).objective.monitor
        self.score = trainer.callback_metrics[monitor].item()
        self._save_if_wanted(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        best, last = self.folder / "best.ckpt", self.folder / "last.ckpt"
        better = self._is_best(trainer)
        self.score = None
        if better:
            trainer.save_checkpoint(best, weights_only=False)
            if trainer.is_global_zero:
                _copy(best, last)
        else:
            trainer.save_checkpoint(last, weights_only=False)
        stop, _ = self._wanted(trainer, now=True)
        if stop:
            raise TrainingStopped(stop, trainer.global_step, self.folder.parent)

    def _is_best(self, trainer: Trainer) -> bool:
        if not trainer.datamodule.has_validation:  # type: ignore[attr-defined]
            return True
        score = math.nan if self.score is None else self.score
        if not score > (-math.inf if self.best_score is None else self.best_score):
            return False
        self.best_score = score
        return True


def _validates(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a validation follows this batch, within the epoch or at its end."""
    every, epochs = trainer.val_check_batch, trainer.check_val_every_n_epoch
    if not trainer.enable_validation or every is None:
        return False
    if epochs is None:  # batches are counted through the epochs
        return (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % every == 0
    return (trainer.current_epoch + 1) % epochs == 0 and (batch_idx + 1) % every == 0


def _copy(path: Path, other: Path) -> None:
    """No link: a bit that goes wrong on the disk is wrong in one of them."""
    with atomic_write(other) as part:
        shutil.copyfile(path, part)
