"""Weights & Biases: `logger=wandb`; online when a key is set, else offline, never a prompt."""

import netrc
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment


class Wandb(WandbLogger):
    """One W&B run per job, named after its choices; the jobs of a multirun are a group.

    Arguments:
        folder: The run folder; in a multirun, the folder it lies in names the group.
        name: The command-line choices.
        timeout: Seconds to reach the server before the run goes on offline.
    """

    def __init__(self, folder: str, project: str = "vaelab", name: str = "", timeout: int = 20):
        Path(folder).mkdir(parents=True, exist_ok=True)
        super().__init__(name=name or "default", save_dir=folder, project=project)
        sweep = Path(folder).parent
        self.group = sweep.name if (sweep / "multirun.yaml").exists() else None
        self.timeout = timeout

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = self._start(os.environ.get("WANDB_MODE") or _mode())
            self._experiment.define_metric("trainer/global_step")
            self._experiment.define_metric("*", step_metric="trainer/global_step")
            for name in ("elbo", "iw_bound", "log_p", "objective"):  # what objectives monitor
                self._experiment.define_metric(f"val/{name}", summary="max,last")
        return self._experiment

    def _start(self, mode: Any) -> Any:
        import wandb
        from wandb.errors import CommError

        settings = wandb.Settings(init_timeout=self.timeout, silent=True, console="off")
        start = {"project": self._project, "name": self._name, "dir": self._save_dir}
        start |= {"group": self.group, "settings": settings}
        try:
            return wandb.init(mode=mode, **start)
        except CommError:
            if mode == "offline":
                raise
            print(f"W&B could not be reached in {self.timeout} s: this run is recorded offline")
            wandb.teardown()
            return wandb.init(mode="offline", **start)

    def close(self) -> None:
        """Finish the run and say where it is; without this the next job would go on in it."""
        if self._experiment is None:
            return
        run, self._experiment = self._experiment, None
        run.finish()
        if run.offline:
            folder = Path(run.dir).parent
            print(f"W&B, offline: see it with `wandb leet {folder}`,")
            print(f"upload it with `wandb sync {folder}`")
        elif run.url:
            print(f"W&B: {run.url}")


def _mode() -> str:
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        known = netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        known = False
    return "online" if known or os.environ.get("WANDB_API_KEY") else "offline"
