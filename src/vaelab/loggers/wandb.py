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

from vaelab.loggers.base import MediaLogger, ResumableLogger
from vaelab.runs.paths import MULTIRUN_RECORD
from vaelab.runtime.private_api import get_experiment, set_experiment

STAGING_VARIABLE = "WANDB_DATA_DIR"  # names the folder of files that wait to be uploaded
ID_VARIABLE, RESUME_VARIABLE, GROUP_VARIABLE = "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_RUN_GROUP"
RUN_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(.+)")  # of W&B, which ends with the id
MAX_ID = 128  # characters of an id
HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")  # old and new host names in the netrc file
MODEL_FILES = ("checkpoints/best.ckpt", ".hydra/config.yaml", ".hydra/hydra.yaml", "metrics.json")


def _find_multirun(folder: Path) -> Path | None:
    """Return the folder of the multirun of a job, which may be some folders above; else None."""
    return next((each for each in folder.parents if (each / MULTIRUN_RECORD).exists()), None)


class Wandb(WandbLogger, MediaLogger, ResumableLogger):
    """A logger with one W&B run per job, named after its overrides; a multirun is a group.

    Files that wait to be uploaded, and those of offline runs, are in the run folder.

    Arguments:
        folder: The run folder. In a multirun, its folder names the group, unless WANDB_RUN_GROUP is
            set, and the id of a job is WANDB_RUN_ID, if it is set, with the number of the job.
        project: The W&B project.
        name: The overrides of the command.
        timeout: Seconds to reach the server before the run continues offline.
        artifacts: True to upload the best weights, as a run folder that `vaelab.load` opens.
    """

    def __init__(
        self,
        folder: str,
        project: str = "vaelab",
        name: str = "",
        timeout: int = 20,
        artifacts: bool = True,
    ):
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.project, self.display_name = project, name or "default"
        super().__init__(name=self.display_name, save_dir=folder, project=project)
        multirun = _find_multirun(Path(folder))
        self.group = os.environ.get(GROUP_VARIABLE) or (multirun.name if multirun else None)
        self.folder, self.timeout = folder, timeout
        self.artifacts = artifacts
        self.id: str | None = None  # None lets W&B choose it, or take it from ID_VARIABLE
        if multirun and (shared := os.environ.get(ID_VARIABLE)):
            job = Path(folder).relative_to(multirun)
            self.id = re.sub(r"[^\w.-]", "-", f"{shared}-{job}")[:MAX_ID]

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if get_experiment(self) is None:
            run = self._start(os.environ.get("WANDB_MODE") or choose_wandb_mode())
            run.define_metric("trainer/global_step")
            run.define_metric("*", step_metric="trainer/global_step")
            for name in ("elbo", "iw_bound", "log_p", "objective", "criterion"):  # larger is better
                run.define_metric(f"val/{name}", summary="max,last")
            set_experiment(self, run)
        return get_experiment(self)

    def resume_from(self, step: int) -> None:
        """Resume the W&B run. Steps that are logged again appear twice."""
        names = sorted(path.name for path in Path(self.folder, "wandb").glob("*run-*-*"))
        found = [match[1] for name in names if (match := RUN_FOLDER.fullmatch(name))]
        if found:
            self.id = found[0]

    def _start(self, mode: Any) -> Any:
        """Start a W&B run, offline if the server cannot be reached."""
        import wandb
        from wandb.errors import CommError

        settings = wandb.Settings(init_timeout=self.timeout, silent=True, console="off")
        start: dict[str, Any] = {"project": self.project, "name": self.display_name}
        start |= {"dir": self.folder, "group": self.group, "settings": settings, "id": self.id}
        if self.id and mode == "online" and not os.environ.get(RESUME_VARIABLE):
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
        """Log a histogram as `name`, and a bar for each value as `name`_bars."""
        import wandb

        columns: Any = ["number", name.rpartition("/")[2]]
        rows: Any = [list(row) for row in enumerate(values)]
        bars: Any = wandb.plot.bar(wandb.Table(columns, rows), *columns, title=name)
        histogram: Any = wandb.Histogram(values)
        with self._staged():
            self.log_metrics({name: histogram, f"{name}_bars": bars}, step)

    def add_table(self, name: str, rows: list[dict[str, Any]], step: int) -> None:
        import wandb

        cells: Any = [[_to_table_cell(value) for value in row.values()] for row in rows]
        table: Any = wandb.Table(list(rows[0]), cells)
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
        if run.offline:
            folder = Path(run.dir).parent
            print(f"W&B, offline: view the run with `wandb leet {folder}`,")
            print(f"upload it with `wandb sync {folder}`")
        elif run.url:
            print(f"W&B: {run.url}")


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
