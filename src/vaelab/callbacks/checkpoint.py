"""Checkpoints: the best by validation, and the last."""

import math
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer, callbacks

from vaelab.command import Stopped
from vaelab.module import VAEModule
from vaelab.slurm import signals

AGREE = 50  # steps from one time that processes tell each other of a signal to the next


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
        self.validated = False  # in this epoch
        self.signal = 0  # that has come
        self.due = math.inf

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score = state_dict["best_score"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.due = time.monotonic() + self.seconds
        if threading.current_thread() is threading.main_thread():
            for number in signals():  # Lightning, which is later than setup, gives them back
                signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.signal = number

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loop = trainer.fit_loop.epoch_loop
        if loop.batch_progress.is_last_batch or loop._should_accumulate():
            return  # the end of the epoch saves; gradients that wait for others are never saved
        stop, due = self._wanted(trainer)
        if stop or due:
            trainer.save_checkpoint(self.folder / "last.ckpt", weights_only=False)
            self.due = time.monotonic() + self.seconds
        if stop:
            raise Stopped(stop, trainer.global_step, self.folder.parent)

    def _wanted(self, trainer: Trainer, now: bool = False) -> tuple[int, bool]:
        """The signal to stop by, and whether it is time to save: the same in all processes.

        They only ask each other now and then, since each would wait for the slowest.
        """
        wanted = self.signal, time.monotonic() > self.due
        if trainer.world_size == 1:
            return wanted
        if not now and trainer.global_step % AGREE:
            return 0, False
        most = torch.tensor(wanted, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
        number, due = most.tolist()
        return number, bool(due)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        best, last = self.folder / "best.ckpt", self.folder / "last.ckpt"
        if self._is_best(trainer, cast(VAEModule, pl_module).objective.monitor):
            trainer.save_checkpoint(best, weights_only=False)
            if trainer.is_global_zero:
                _same(best, last)
        else:
            trainer.save_checkpoint(last, weights_only=False)
        self.validated = False
        stop, _ = self._wanted(trainer, now=True)
        if stop:
            raise Stopped(stop, trainer.global_step, self.folder.parent)

    def _is_best(self, trainer: Trainer, monitor: str) -> bool:
        if not trainer.datamodule.validated:  # type: ignore[attr-defined]
            return True
        score = trainer.callback_metrics[monitor].item() if self.validated else math.nan
        if not score > (-math.inf if self.best_score is None else self.best_score):
            return False
        self.best_score = score
        return True


def _same(path: Path, other: Path) -> None:
    """Make `other` the same file; neither is ever written to again, only replaced."""
    part = other.with_suffix(".part")
    part.unlink(missing_ok=True)
    try:
        os.link(path, part)
    except OSError:  # a file system without links
        shutil.copy(path, part)
    part.replace(other)
