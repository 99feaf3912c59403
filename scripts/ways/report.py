"""Report the seconds, device and memory of a benchmark process to scripts/benchmark.py."""

import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback


def report(**figures: Any) -> None:
    """Write figures to the file that scripts/benchmark.py reads."""
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    Path(os.environ["BENCHMARK_REPORT"]).write_text(json.dumps(figures), encoding="utf-8")


def now() -> float:
    """Return the time in seconds, after all work of the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Clock(Callback):
    """Reports the seconds of every epoch without validation, and the seconds to the first step.

    An epoch ends where the next one begins, so that checkpoints and loggers are included.
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
            end - start - validation
            for start, end, validation in zip(self.starts, ends, self.validation, strict=True)
        ]
        report(seconds=seconds, validation=self.validation, first_step=self.first_step)
