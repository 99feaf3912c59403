"""Several processes for one job, also inside a multirun: `trainer=ddp`.

Lightning starts the other processes by repeating the command line. In a multirun this would begin
the whole sweep again, and in a single run it may lose the run folder. Here, each process gets the
overrides and the folder of this one job.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_original_cwd
from pytorch_lightning.strategies import DDPStrategy

from vaelab.runtime.installation import subprocess_command
from vaelab.runtime.overrides import is_resume_command, quote_override
from vaelab.runtime.private_api import set_job_command

LAUNCHER_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class DDP(DDPStrategy):
    """Lightning's DDPStrategy, whose other processes repeat this job and nothing else.

    Arguments:
        settings: Those of DDPStrategy.
    """

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        set_job_command(_job_command)


def _job_command(local_rank: int) -> tuple[Sequence[str], str]:
    """Return the command of another process and the folder in which it starts."""
    hydra = HydraConfig.get()
    command = subprocess_command("train", *hydra.overrides.task)
    if is_resume_command(hydra.overrides.task):  # the command names the folder
        return command, get_original_cwd()
    folders = [
        f"hydra.run.dir={quote_override(hydra.runtime.output_dir)}",
        f"hydra.sweep.dir={quote_override(hydra.sweep.dir)}",  # of the multirun of this job
    ]
    return [*command, *folders, "hydra.mode=RUN", "hydra.output_subdir=null"], get_original_cwd()


@contextmanager
def ddp_process_group() -> Iterator[None]:
    """Destroy the process group on exit and restore the variables that Lightning sets.

    The next job of a multirun can then start its own processes.
    """
    before = {name: os.environ.get(name) for name in LAUNCHER_VARIABLES}
    try:
        yield
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
