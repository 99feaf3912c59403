"""Weights & Biases: `logger=wandb`. Online if an API key is set, else offline; never prompts."""

import netrc
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from PIL import Image
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from vaelab.loggers.base import MediaLogger, ResumableLogger, RunTracker
from vaelab.loggers.offline_runs import find_upload_command
from vaelab.loggers.run_identity import (
    describe_choices,
    find_group,
    find_original,
    is_multirun_job,
    read_tracking_id,
    record_tracking_id,
)
from vaelab.runs.jobs import find_multirun
from vaelab.runs.paths import MODEL_FILES
from vaelab.runtime.metric_names import METRICS, OTHER_METRICS
from vaelab.runtime.overrides import quote_for_shell
from vaelab.runtime.private_api import get_experiment, set_experiment

STAGING_VARIABLE = "WANDB_DATA_DIR"  # names the folder of files that wait to be uploaded
ID_VARIABLE, RESUME_VARIABLE, GROUP_VARIABLE = "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_RUN_GROUP"
RUN_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-([\w.-]+)")  # of W&B, ends with the id
MAX_ID = 128  # characters of an id
HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")  # old and new host names in the netrc file
STEP = "trainer/global_step"  # the key of the optimizer step, over which curves are drawn
TABLE_PARTS = (  # of a table in the summary; W&B decides for each part whether to keep it
    *("_type", "path", "sha256", "size", "nrows", "ncols"),
    *("artifact_path", "_latest_artifact_path"),
)
UNNAMED_CRITERIA = ("log_p", "objective")  # larger is better; not in the table of metrics


def choose_summary(key: str) -> str:
    """Return what the summary of a W&B run holds of a logged key: none, last, max or min.

    It holds numbers of the table of metrics: the best value of a curve on validation images, the
    last value if neither direction is better, and the results. All else has curves only.
    """
    stage, _, name = key.partition("/")
    metric = METRICS.get(name) or OTHER_METRICS.get(name)
    if stage == "val" and name in UNNAMED_CRITERIA:
        return "max"
    if metric is None or stage == "train":
        return "none"
    if stage != "val" or metric.higher_is_better is None:
        return "last" if name in METRICS else "none"
    return "max" if metric.higher_is_better else "min"


class Wandb(WandbLogger, MediaLogger, ResumableLogger, RunTracker):
    """A logger with one W&B run per job; a multirun is a group.

    Files that wait to be uploaded, and those of offline runs, are in the run folder, which also
    records the id of the W&B run. Resuming the run and evaluating it append to this W&B run. A
    rerun is a W&B run of its own, in the group of the run that it repeats.

    Arguments:
        folder: The run folder. In a multirun, the id of a job is WANDB_RUN_ID, if it is set, with
            the number of the job.
        project: The W&B project.
        entity: The user or team; None is WANDB_ENTITY or your own.
        group: None is WANDB_RUN_GROUP, or the name of the folder of the multirun.
        job_type: None is WANDB_JOB_TYPE; that of a rerun is `rerun`.
        name: None is the words of the command, in a multirun those that differ between its jobs.
        tags: Words by which runs can be found.
        notes: A longer description.
        timeout: Seconds to reach the server before the run continues offline.
        artifacts: True to upload the best weights, as a run folder that `vaelab.load` opens.
    """

    def __init__(
        self,
        folder: str,
        project: str | None = "vaelab",
        entity: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        notes: str | None = None,
        timeout: int = 20,
        artifacts: bool = True,
    ):
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        self.display_name = name or describe_choices(path)
        super().__init__(name=self.display_name, save_dir=folder, project=project)
        original = find_original(path)
        self.project, self.entity, self.tags = project, entity, [*tags] or None
        self.group = group or os.environ.get(GROUP_VARIABLE) or find_group(path)
        self.job_type = job_type or ("rerun" if original else None)
        self.notes = notes or (f"rerun of {original}" if original else None)
        self.folder, self.timeout = folder, timeout
        self.artifacts = artifacts
        self.run_folder: Path | None = None  # of the W&B run that this logger joins
        self.id: str | None = None  # None lets W&B choose it, or take it from ID_VARIABLE
        self._defined: set[str] = set()
        multirun = find_multirun(path)
        if multirun and (shared := os.environ.get(ID_VARIABLE)):
            self.id = re.sub(r"[^\w.-]", "-", f"{shared}-{path.relative_to(multirun)}")[:MAX_ID]

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if get_experiment(self) is None:
            run = self._start(os.environ.get("WANDB_MODE") or choose_wandb_mode())
            run.define_metric(STEP, summary="none")
            run.define_metric("*", step_metric=STEP, summary="none")
            if self.run_folder is None and not run.disabled:
                record_tracking_id(Path(self.folder), "wandb", run.id)
            set_experiment(self, run)
        return get_experiment(self)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        for key in metrics.keys() - self._defined:
            self._define(key, choose_summary(key))
        super().log_metrics(metrics, step)

    def _define(self, key: str, summary: str) -> None:
        """Tell W&B what the summary holds of a key; it holds nothing of other keys."""
        self._defined.add(key)
        if summary != "none":
            kind = None if summary == "last" else summary
            self.experiment.define_metric(key, step_metric=STEP, summary=kind)

    def resume_from(self, step: int) -> None:
        """Resume the W&B run. Steps that are logged again appear twice."""
        self.id = _find_id(Path(self.folder)) or self.id

    def join(self, run_folder: Path) -> None:
        """Prepare to append to the W&B run of a run folder, and say so; see `RunTracker`."""
        if run_id := _find_id(run_folder):
            self.id, self.run_folder = run_id, run_folder
            owner = self.entity or os.environ.get("WANDB_ENTITY")
            place = f"{owner}/{self.project}" if owner else self.project
            print(f"W&B: the numbers are added to run {run_id} of project {place}")
        else:
            self.display_name = f"{run_folder.name} {Path(self.folder).name}"

    def _start(self, mode: Any) -> Any:
        """Start a W&B run, offline if the server cannot be reached.

        A known id is resumed in both modes: `wandb sync` appends an offline run that says so to
        the run of this id, and would replace it otherwise.
        """
        import wandb
        from wandb.errors import CommError

        settings = wandb.Settings(init_timeout=self.timeout, silent=True, console="off")
        start: dict[str, Any] = {"project": self.project, "entity": self.entity}
        start |= {"dir": self.folder, "settings": settings, "id": self.id}
        if self.run_folder is None:  # a run that is joined keeps what it has
            start |= {"name": self.display_name, "group": self.group, "job_type": self.job_type}
            start |= {"tags": self.tags, "notes": self.notes}
        if self.id and not os.environ.get(RESUME_VARIABLE):
            start["resume"] = "allow"
        if (shared := os.environ.get(ID_VARIABLE)) and self.id not in (None, shared):
            print(f"W&B: the id of this run is {self.id}, not {ID_VARIABLE}={shared}")
        try:
            return wandb.init(mode=mode, **start)
        except CommError:
            if mode == "offline":
                raise
            print(f"W&B could not be reached in {self.timeout} s: this run is recorded offline")
            wandb.teardown()
            return wandb.init(mode="offline", **start)

    def add_image(self, name: str, image: Image.Image, step: int) -> None:
        self.log_image(name, [image], step)

    def add_histogram(self, name: str, values: Sequence[float], step: int) -> None:
        """Log a table of the values, of which the workspace draws bars."""
        self._log_table(name, ["number", name.rpartition("/")[2]], [*enumerate(values)], step)

    def add_table(self, name: str, rows: list[dict[str, Any]], step: int) -> None:
        """Log a table, which is also in the summary: the table panel of W&B reads it there."""
        for part in TABLE_PARTS:
            self._define(f"{name}.{part}", "last")
        cells = [[_to_table_cell(value) for value in row.values()] for row in rows]
        self._log_table(name, [*rows[0]], cells, step)

    def _log_table(self, name: str, columns: list[str], rows: Sequence[Any], step: int) -> None:
        import wandb

        table: Any = wandb.Table(columns, [[*row] for row in rows])  # type: ignore[arg-type]
        with self._staged():
            self.log_metrics({name: table}, step)

    def add_model(self, folder: Path, numbers: Mapping[str, Any]) -> None:
        """Log an artifact of type `model`. If that fails, the run ends without the artifact."""
        import wandb

        if not self.artifacts:
            return
        try:
            artifact = wandb.Artifact(
                f"model-{self.experiment.id}", "model", metadata=dict(numbers)
            )
            for file in MODEL_FILES:
                if (folder / file).is_file():
                    artifact.add_file(str(folder / file), file, policy="immutable")
            with self._staged():
                self.experiment.log_artifact(artifact)
        except (OSError, ValueError, TypeError, wandb.Error) as error:
            print(f"W&B could not save the model as an artifact: {error}")

    @contextmanager
    def _staged(self) -> Iterator[None]:
        """Inside, W&B keeps files that wait to be uploaded in the run folder."""
        previous = os.environ.get(STAGING_VARIABLE)
        os.environ[STAGING_VARIABLE] = previous or str(Path(self.folder, "wandb").resolve())
        try:
            yield
        finally:
            if previous is None:
                del os.environ[STAGING_VARIABLE]

    def close(self, failed: bool = False) -> None:
        """Finish the run and print where it is. Otherwise the next job would log to the same run.

        Arguments:
            failed: True to mark the run as failed.
        """
        run = get_experiment(self)
        if run is None:
            return
        set_experiment(self, None)
        run.finish(exit_code=int(failed))
        if run.offline and not is_multirun_job():  # a multirun ends with one hint
            print(f"W&B is offline. View this run: wandb leet {quote_for_shell(run.sync_dir)}")
            print(f"To upload it:\n{find_upload_command(self.run_folder or Path(self.folder))}")
        elif not run.offline and run.url:
            print(f"W&B: {run.url}")


def _find_id(run_folder: Path) -> str | None:
    """Return the id of the W&B run of a run folder, None if it has none.

    The files of W&B tell the id for older runs.
    """
    names = sorted(path.name for path in (run_folder / "wandb").glob("*run-*-*"))
    found = [match[1] for name in names if (match := RUN_FOLDER.fullmatch(name))]
    return read_tracking_id(run_folder, "wandb") or next(iter(found), None)


def choose_wandb_mode() -> str:
    """Return online if there is an API key for the server, else offline."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return "online"
    server = os.environ.get("WANDB_BASE_URL")
    hosts = [urlparse(server).netloc] if server else HOSTS
    try:
        keys = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return "offline"
    return "online" if any(keys.authenticators(host) for host in hosts) else "offline"


def _to_table_cell(value: Any) -> Any:
    """Convert an image to a W&B image."""
    import wandb

    return wandb.Image(value) if isinstance(value, Image.Image) else value
