"""metrics.csv in the run folder: `logger=csv`."""

from typing import Any

from lightning_fabric.loggers.csv_logs import _ExperimentWriter
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment


class Csv(CSVLogger):
    """Lightning's CSV logger, straight into `folder` and without a second copy of the config."""

    def __init__(self, folder: str):
        super().__init__(folder, name="", version="")

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _Writer(self.save_dir)
        return self._experiment

    def log_hyperparams(self, params: Any = None) -> None:
        """The config is in .hydra/config.yaml."""


class _Writer(_ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """The run folder is expected to hold other files."""
