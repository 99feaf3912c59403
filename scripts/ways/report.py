"""What a way of doing something tells the benchmark: its figures, its device and its memory."""

import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback


def report(**figures: Any) -> None:
    """Leave figures where scripts/benchmark.py reads them."""
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    Path(os.environ["BENCHMARK_REPORT"]).write_text(json.dumps(figures))


def now() -> float:
    """Seconds, when the device has done all it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Clock(Callback):
    """The seconds of every epoch of a Trainer, those of its validation, and of the first step.

    An epoch ends where the next one begins, so that checkpoints and loggers count.
    """

    def __init__(self):
        self.starts: list[float] = []
        self.validation: list[float] = []
        self.first_step = 0.0

    def on_train_epoch_start(self, trainer, pl_module):
        self.starts.append(now())
        self.validation.append(0.0)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if not self.first_step:
            now()
            self.first_step = time.time() - float(os.environ["BENCHMARK_START"])

    def on_validation_start(self, trainer, pl_module):
        self.validation[-1] -= now()

    def on_validation_end(self, trainer, pl_module):
        self.validation[-1] += now()

    def on_train_end(self, trainer, pl_module):
        ends = [*self.starts[1:], now()]
        seconds = [
            end - start - inside
            for start, end, inside in zip(self.starts, ends, self.validation, strict=True)
        ]
        report(seconds=seconds, validation=self.validation, first_step=self.first_step)
