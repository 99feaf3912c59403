"""Weights & Biases: `logger=wandb`; online when a key is set, else offline, never a prompt."""

import netrc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from PIL import Image
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment

from vaelab.loggers.base import MediaLogger, ResumableLogger

STAGING = "WANDB_DATA_DIR"  # where W&B keeps what it has not uploaded yet
HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")  # its names in `wandb login`, old and new
MODEL = ("checkpoints/best.ckpt", ".hydra/config.yaml", ".hydra/hydra.yaml", "metrics.json")


class Wandb(WandbLogger, MediaLogger, ResumableLogger):
    """One W&B run per job, named after its choices; the jobs of a multirun are a group.

    All that waits to be uploaded is in the run folder, that of an offline run too.

    Arguments:
        folder: The run folder; in a multirun, the folder it lies in names the group.
        name: The command-line choices.
        timeout: Seconds to reach the server before the run goes on offline.
        artifacts: Whether the best weights are kept, as a run folder that `Run.open` takes.
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
        super().__init__(name=name or "default", save_dir=folder, project=project)
        sweep = Path(folder).parent
        self.group = sweep.name if (sweep / "multirun.yaml").exists() else None
        self.folder, self.timeout = folder, timeout
        self.artifacts = artifacts
        self.id: str | None = None  # W&B gives it

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = self._start(os.environ.get("WANDB_MODE") or wandb_mode())
            self._experiment.define_metric("trainer/global_step")
            self._experiment.define_metric("*", step_metric="trainer/global_step")
            for name in ("elbo", "iw_bound", "log_p", "objective"):  # what objectives monitor
                self._experiment.define_metric(f"val/{name}", summary="max,last")
        return self._experiment

    def resume_from(self, step: int) -> None:
        """Under the id that the run has; what comes again is there twice, at the same step."""
        folders = sorted(Path(self.folder, "wandb").glob("*run-*-*"), key=lambda path: path.name)
        if folders:
            self.id = folders[0].name.rpartition("-")[2]

    def _start(self, mode: Any) -> Any:
        import wandb
        from wandb.errors import CommError

        settings = wandb.Settings(init_timeout=self.timeout, silent=True, console="off")
        start = {"project": self._project, "name": self._name, "dir": self._save_dir}
        start |= {"group": self.group, "settings": settings, "id": self.id}
        start |= {"resume": "allow"} if self.id and mode == "online" else {}
        try:
            return wandb.init(mode=mode, **start)
        except CommError:
            if mode == "offline":
                raise
            print(f"W&B could not be reached in {self.timeout} s: this run is recorded offline")
            wandb.teardown()
            return wandb.init(mode="offline", **start)

    def add_image(self, name: str, picture: Image.Image, step: int) -> None:
        self.log_image(name, [picture], step)

    def add_histogram(self, name: str, values: Sequence[float], step: int) -> None:
        """The histogram as `name`, and a bar for each value as `name`_bars."""
        import wandb

        columns: Any = ["number", name.rpartition("/")[2]]
        rows: Any = [list(row) for row in enumerate(values)]
        bars: Any = wandb.plot.bar(wandb.Table(columns, rows), *columns, title=name)
        histogram: Any = wandb.Histogram(values)
        with self._staged():
            self.log_metrics({name: histogram, f"{name}_bars": bars}, step)

    def add_table(self, name: str, rows: list[dict[str, Any]], step: int) -> None:
        import wandb

        cells: Any = [[_cell(value) for value in row.values()] for row in rows]
        table: Any = wandb.Table(list(rows[0]), cells)
        with self._staged():
            self.log_metrics({name: table}, step)

    def add_model(self, folder: Path, numbers: dict[str, Any]) -> None:
        """An artifact of type `model`; where that fails the run goes on without it."""
        import wandb

        if not self.artifacts:
            return
        try:
            artifact = wandb.Artifact(f"model-{self.experiment.id}", "model", metadata=numbers)
            for name in MODEL:
                if (folder / name).is_file():
                    artifact.add_file(str(folder / name), name, policy="immutable")
            with self._staged():
                self.experiment.log_artifact(artifact)
        except (OSError, ValueError, TypeError, wandb.Error) as error:
            print(f"W&B has no artifact of this run: {error}")

    @contextmanager
    def _staged(self) -> Iterator[None]:
        """Inside, what W&B puts aside to be uploaded goes into the run folder."""
        before = os.environ.get(STAGING)
        os.environ[STAGING] = before or str(Path(self.folder, "wandb").resolve())
        try:
            yield
        finally:
            if before is None:
                del os.environ[STAGING]

    def close(self, failed: bool = False) -> None:
        """Finish the run and say where it is; without this the next job would go on in it."""
        if self._experiment is None:
            return
        run, self._experiment = self._experiment, None
        run.finish(exit_code=int(failed))
        if run.offline:
            folder = Path(run.dir).parent
            print(f"W&B, offline: see it with `wandb leet {folder}`,")
            print(f"upload it with `wandb sync {folder}`")
        elif run.url:
            print(f"W&B: {run.url}")


def wandb_mode() -> str:
    """online where a key is known for the server, else offline."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return "online"
    server = os.environ.get("WANDB_BASE_URL")
    hosts = [urlparse(server).netloc] if server else HOSTS
    try:
        keys = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return "offline"
    return "online" if any(keys.authenticators(host) for host in hosts) else "offline"


def _cell(value: Any) -> Any:
    import wandb

    return wandb.Image(value) if isinstance(value, Image.Image) else value
