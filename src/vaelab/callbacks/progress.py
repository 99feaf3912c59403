"""The progress of a training: one bar in a terminal, and a few lines elsewhere."""

import math
import sys
import time
from typing import Any, cast

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from vaelab.module import VAEModule
from vaelab.runtime.durations import format_duration
from vaelab.runtime.errors import UserError

BAR = "{desc} |{bar}| {percentage:3.0f}% [{elapsed}<{remaining}{postfix}]"
ENDLESS_BAR = "{desc} {n_fmt} steps [{elapsed}{postfix}]"
LINES = 20  # at most so many for a training whose length is known
ENDLESS_SECONDS = 60  # between two lines if the length is not known


class Progress(ProgressBar):
    """Shows the progress over the whole training with the time that is left.

    A terminal shows one bar with the last value of the criterion that chooses the best weights.
    Anything else, such as a file, receives a line at most every twentieth of the training.

    Arguments:
        refresh_rate: The number of batches between two updates; 0 shows nothing.

    Raises:
        UserError: If refresh_rate is negative.
    """

    def __init__(self, refresh_rate: int = 20):
        super().__init__()
        if refresh_rate < 0:
            raise UserError(
                f"callbacks.progress.refresh_rate={refresh_rate}: it must be at least 0"
            )
        self.refresh_rate = refresh_rate
        self.is_shown = True
        self.bar: Any = None  # a tqdm

    def enable(self) -> None:
        self.is_shown = True

    def disable(self) -> None:
        self.is_shown = False

    def print(self, *args: Any, **kwargs: Any) -> None:
        tqdm.write(" ".join(map(str, args)), **kwargs)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.is_shown = self.is_shown and trainer.is_global_zero and self.refresh_rate > 0
        self.total = _count_batches(trainer)
        self.begun = self.printed = time.monotonic()
        self.first = self.printed_batches = _count_finished_batches(trainer)
        if self.is_shown and sys.stderr.isatty():
            self.bar = tqdm(
                total=None if math.isinf(self.total) else self.total,
                initial=self.first,
                bar_format=ENDLESS_BAR if math.isinf(self.total) else BAR,
                dynamic_ncols=True,
                leave=False,
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.is_shown and (batch_idx + 1) % self.refresh_rate == 0:
            self._show(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.is_shown:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.is_shown:
            return
        self._close()
        seconds = format_duration(time.monotonic() - self.begun)
        value = _describe_value(trainer, pl_module)
        tqdm.write(
            f"trained {trainer.global_step:,} steps, {_count_epochs(trainer)} in {seconds}{value}"
        )

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _show(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = _count_finished_batches(trainer)
        epochs = trainer.max_epochs or -1
        epoch = f"epoch {trainer.current_epoch + 1}" + (f"/{epochs}" if epochs > 0 else "")
        value = _describe_value(trainer, pl_module)
        if self.bar is not None:
            self.bar.set_description_str(epoch, refresh=False)
            self.bar.set_postfix_str(value.removeprefix(", "), refresh=False)
            self.bar.update(batches - self.bar.n)
        elif self._is_line_due(batches):
            self.printed, self.printed_batches = time.monotonic(), batches
            rest = self._describe_rest(batches)
            tqdm.write(f"{epoch}, step {trainer.global_step:,}{value}{rest}")

    def _is_line_due(self, batches: int) -> bool:
        if math.isinf(self.total):
            return time.monotonic() - self.printed >= ENDLESS_SECONDS
        return batches - self.printed_batches >= self.total / LINES

    def _describe_rest(self, batches: int) -> str:
        elapsed = time.monotonic() - self.begun
        if math.isinf(self.total) or batches == self.first:
            return f", {format_duration(elapsed)} passed"
        rest = elapsed / (batches - self.first) * (self.total - batches)
        return f", {format_duration(rest)} left"


def _count_batches(trainer: Trainer) -> float:
    """Return the number of batches of the whole training, infinity if it is not known."""
    epochs, steps = trainer.max_epochs or -1, trainer.max_steps
    limits = [epochs * trainer.num_training_batches] if epochs > 0 else []
    limits += [steps * trainer.accumulate_grad_batches] if steps > 0 else []
    return min(limits, default=math.inf)


def _count_finished_batches(trainer: Trainer) -> int:
    return trainer.fit_loop.epoch_loop.total_batch_idx + 1


def _count_epochs(trainer: Trainer) -> str:
    count = trainer.fit_loop.epoch_progress.current.completed
    return f"{count} epoch{'s' * (count != 1)},"


def _describe_value(trainer: Trainer, pl_module: LightningModule) -> str:
    """Return the last validation value of the criterion, or a value of the last logged step."""
    criterion = cast(VAEModule, pl_module).objective.criterion
    if (value := trainer.callback_metrics.get(criterion)) is not None:
        return f", {criterion} {value.item():.2f}"
    latest = cast(VAEModule, pl_module).latest
    return "".join(f", train/{name} {value:.2f}" for name, value in latest.items())
