"""metrics.csv in the run folder: `logger=csv`."""

import csv
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.csv_logs import _ExperimentWriter
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment

from vaelab.loggers.base import ResumableLogger
from vaelab.runs.history import truncate_metrics, write_csv_rows


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
        if self._experiment is None:
            self._experiment = _MetricsWriter(self.save_dir)
        return self._experiment

    def log_hyperparams(self, params: Any = None) -> None:
        """Do nothing: the config is in .hydra/config.yaml."""

    def resume_from(self, step: int) -> None:
        self.experiment.truncate(step)


class _MetricsWriter(_ExperimentWriter):
    # _ExperimentWriter and the two overridden methods are private to Lightning, which has no public
    # way to write into a folder with other files. tests/loggers/test_csv.py notices changes.

    def _check_log_dir_exists(self) -> None:
        """Skip Lightning's warning: a run folder holds other files."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        with path.open(newline="") as file:
            write_csv_rows(path, fieldnames, list(csv.DictReader(file)))

    def truncate(self, step: int) -> None:
        """Remove the rows of optimizer steps from `step` on."""
        self.metrics_keys = truncate_metrics(Path(self.metrics_file_path), step)
