"""Several processes for one job, also inside a multirun: `trainer=ddp`.

Lightning starts the other processes by repeating the command line. In a multirun that would begin
the whole sweep again, and without a sweep it may lose the run folder; so here each process gets
the choices and the folder of this one job.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_original_cwd, to_absolute_path
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers import subprocess_script

from vaelab.runtime.overrides import is_resume_command, quote_override

VARIABLES = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class DDP(DDPStrategy):
    """Lightning's strategy, with processes that repeat this job and nothing else."""

    def _configure_launcher(self) -> None:
        subprocess_script._hydra_subprocess_cmd = _command
        super()._configure_launcher()


def _command(local_rank: int) -> tuple[Sequence[str], str]:
    hydra = HydraConfig.get()
    command = [sys.executable, to_absolute_path(sys.argv[0]), *hydra.overrides.task]
    if is_resume_command(hydra.overrides.task):  # it names the folder
        return command, get_original_cwd()
    folder = f"hydra.run.dir={quote_override(hydra.runtime.output_dir)}"
    return [*command, folder, "hydra.mode=RUN", "hydra.output_subdir=null"], get_original_cwd()


@contextmanager
def ddp_process_group() -> Iterator[None]:
    """Afterwards the processes of a job are parted, so that the next job can start its own."""
    before = {name: os.environ.get(name) for name in VARIABLES}
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
