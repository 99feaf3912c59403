"""MLflow: `logger=mlflow`. The database mlflow.db, or the server of MLFLOW_TRACKING_URI."""

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from vaelab.loggers.base import MediaLogger, ResumableLogger, RunTracker
from vaelab.loggers.run_identity import (
    describe_choices,
    find_group,
    find_original,
    is_multirun_job,
    read_tracking_id,
    record_tracking_id,
)
from vaelab.runs.paths import MODEL_FILES
from vaelab.runs.provenance import flatten
from vaelab.runtime.errors import UserError, check_extra_installed

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE = "mlflow.db"  # in the working folder: what `mlflow ui` shows by default
MAX_VALUE = 500  # characters of a parameter that every server stores
MAX_BATCH = 100  # parameters in one request
QUIET = ("alembic", "mlflow.store.db.utils")  # loggers that announce a new database


class Mlflow(Logger, MediaLogger, ResumableLogger, RunTracker):
    """A logger with one MLflow run per job, with its config, metrics and figures.

    The run folder records the id of the MLflow run. Resuming the run and evaluating it append to
    this MLflow run. A rerun is an MLflow run of its own, below the run that it repeats. No config
    chooses the database or the server, because the config of a run folder may be untrusted.

    Lightning's MLFlowLogger opens the database in every process, ends the run before its
    evaluation, and logs steps twice after a resume.

    Arguments:
        folder: The run folder.
        experiment: The MLflow experiment.
        name: None is the words of the command, in a multirun those that differ between its jobs.
        tags: More tags of the run.
        artifacts: True to copy the best weights, as a run folder that `vaelab.load` opens.

    Raises:
        MissingExtraError: If the extra `mlflow` is not installed.
    """

    def __init__(
        self,
        folder: str,
        experiment: str = "vaelab",
        name: str | None = None,
        tags: Mapping[str, str | int | float | bool] | None = None,
        artifacts: bool = False,
    ):
        check_extra_installed("mlflow", "mlflow", "sqlalchemy", "alembic")
        super().__init__()
        self.folder, self.artifacts = Path(folder), artifacts
        self.experiment_name = experiment
        self.display_name = name or describe_choices(self.folder)
        self.tags = {key: str(value) for key, value in (tags or {}).items()}
        self.uri = os.environ.get(URI_VARIABLE) or _make_database_uri()
        self.id: str | None = None  # of the MLflow run
        self.is_joining = False
        self._client: Any = None
        self._first_step = 0  # points before this step were logged by the interrupted run
        self._logged: set[tuple[str, int]] = set()  # points that MLflow has already

    @property
    def name(self) -> str:
        return self.experiment_name

    @property
    def version(self) -> str | None:
        return self.id

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The MlflowClient; its first use starts the run, or resumes that of `id`.

        Raises:
            UserError: If the database or the server refuses it.
        """
        if self._client is None:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException

            for logger in QUIET:
                logging.getLogger(logger).setLevel(logging.WARNING)
            try:
                client = MlflowClient(self.uri)
                if not self._resume(client):
                    self._start(client)
            except MlflowException as error:
                message = " ".join(str(error).split())[:300]
                raise UserError(f"MLflow at {self.uri}: {message}") from error
            self._client = client
        return self._client

    def _resume(self, client: Any) -> bool:
        """Resume the run of `id`, and find what it has logged; False if there is no such run."""
        from mlflow.exceptions import MlflowException

        if self.id is None:
            return False
        try:
            run = client.get_run(self.id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            print(
                f"MLflow at {self.uri} has no run {self.id}: a new one is started. Type the "
                f"command in the folder in which the run was started, or set {URI_VARIABLE}"
            )
            return False
        if not self.is_joining:
            client.update_run(self.id, status="RUNNING")
        self._logged = {
            (key, point.step)
            for key in run.data.metrics
            for point in client.get_metric_history(self.id, key)
            if point.step >= self._first_step
        }
        return True

    def _start(self, client: Any) -> None:
        tags = {"vaelab.folder": str(self.folder.resolve())}
        if group := find_group(self.folder):
            tags["vaelab.group"] = group
        if original := find_original(self.folder):
            tags["vaelab.rerun_of"] = str(original)
            if parent := read_tracking_id(original, "mlflow"):
                tags["mlflow.parentRunId"] = parent
        experiment = _find_experiment(client, self.experiment_name)
        run = client.create_run(experiment, tags=tags | self.tags, run_name=self.display_name)
        self.id = run.info.run_id
        if not self.is_joining:
            record_tracking_id(self.folder, "mlflow", run.info.run_id)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log a nested config as parameters with dotted keys.

        MLflow never changes a parameter: what a resumed run changes becomes a tag `resumed.<key>`.
        """
        from mlflow.entities import Param

        client = self.experiment
        values = {key: str(value)[:MAX_VALUE] for key, value in flatten(params).items()}
        known = client.get_run(self.id).data.params
        new = [Param(key, value) for key, value in values.items() if key not in known]
        for start in range(0, len(new), MAX_BATCH):
            client.log_batch(self.id, params=new[start : start + MAX_BATCH])
        for key, value in values.items():
            if known.get(key, value) != value:
                client.set_tag(self.id, f"resumed.{key}", value)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        from mlflow.entities import Metric

        client, now, step = self.experiment, int(1000 * time.time()), step or 0
        points = [
            Metric(key, float(value), now, step)
            for key, value in metrics.items()
            if (key, step) not in self._logged
        ]
        if points:
            client.log_batch(self.id, metrics=points)

    def resume_from(self, step: int) -> None:
        """Resume the MLflow run. Points that it has of `step` and later steps are kept."""
        self.id = read_tracking_id(self.folder, "mlflow")
        self._first_step = step

    def join(self, run_folder: Path) -> None:
        self.is_joining = True
        self.id = read_tracking_id(run_folder, "mlflow")
        self.display_name = f"{run_folder.name} {self.folder.name}"
        if self.id is not None:
            print(f"MLflow: the numbers are added to run {self.id} in {self.uri}")

    def add_image(self, name: str, image: Image.Image, step: int) -> None:
        self.experiment.log_image(self.id, image, artifact_file=f"{name}.png")

    def add_model(self, folder: Path, numbers: Mapping[str, Any]) -> None:
        for file in MODEL_FILES if self.artifacts else ():
            if (folder / file).is_file():
                place = f"model/{Path(file).parent.as_posix()}".removesuffix("/.")
                self.experiment.log_artifact(self.id, str(folder / file), place)

    def close(self, failed: bool = False) -> None:
        if self._client is None:
            return
        client, self._client = self._client, None
        if self.is_joining:
            return
        client.set_terminated(self.id, "FAILED" if failed else "FINISHED")
        if not is_multirun_job():
            print(f"MLflow: run {self.id} of experiment {self.experiment_name} in {self.uri}")


def _make_database_uri() -> str:
    """Return the address of the database in the working folder, absolute where a URI can be."""
    path = Path(DATABASE).absolute().as_posix()
    return f"sqlite:///{DATABASE if re.search('[?#%]', path) else path}"


def _find_experiment(client: Any, name: str) -> str:
    """Return the id of an experiment, which is created if there is none.

    Raises:
        UserError: If it was deleted.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(name)  # another job has created it
    if found.lifecycle_stage == "deleted":
        raise UserError(
            f"logger.mlflow.experiment={name} was deleted in MLflow: restore it by `mlflow "
            f"experiments restore -x {found.experiment_id}`, or choose another name"
        )
    return found.experiment_id
