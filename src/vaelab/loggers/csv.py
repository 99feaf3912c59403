"""metrics.csv in the run folder: `logger=csv`."""

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment

from vaelab.loggers.base import ResumableLogger
from vaelab.runs.history import truncate_metrics, write_csv_rows
from vaelab.runtime.private_api import MetricsWriter, get_experiment, set_experiment


class Csv(CSVLogger, ResumableLogger):
    """Lightning's CSV logger, writing to `folder`/metrics.csv, without a second copy of the config.

    Arguments:
        folder: The run folder.
    """

    def __init__(self, folder: str):
        super().__init__(folder, name="", version="")

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if get_experiment(self) is None:
            set_experiment(self, _AtomicMetricsWriter(self.save_dir))
        return get_experiment(self)

    def log_hyperparams(self, params: Any = None) -> None:
        """Do nothing: the config is in .hydra/config.yaml."""

    def resume_from(self, step: int) -> None:
        self.experiment.truncate(step)


class _AtomicMetricsWriter(MetricsWriter):
    """Rewrites the file atomically when a new metric adds a column."""

    def rewrite_with_columns(self, columns: list[str]) -> None:
        path = Path(self.metrics_file_path)
        with path.open(newline="", encoding="utf-8") as file:
            write_csv_rows(path, columns, list(csv.DictReader(file)))

    def truncate(self, step: int) -> None:
        """Remove the rows of optimizer steps from `step` on."""
        self.metrics_keys = truncate_metrics(Path(self.metrics_file_path), step)
