"""What Slurm is to a run: several processes, a job that is started again, a signal before that.

`trainer=slurm_ddp` is a process for each task of srun; `hydra/launcher=slurm` a job of the queue
for each job of a multirun. SIGUSR1, which a script asks for by `#SBATCH --signal=USR1@120`, and
SIGUSR2, which submitit asks for, stop a training after a step and put its job into the queue again.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def is_worker_rank() -> bool:
    """Whether this process is one of several of the same job, and not the first."""
    names = ("LOCAL_RANK", "RANK", "SLURM_PROCID")
    return any(os.environ.get(name, "0") != "0" for name in names)


def count_tasks() -> int:
    """How many processes srun or torchrun started for this job."""
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)


def was_requeued() -> bool:
    """Whether this is a job that Slurm has put into the queue again."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


def stop_signals() -> list[int]:
    """Those that ask a training to stop: of Slurm, of anybody, and of submitit where it waits."""
    submitit = callable(signal.getsignal(signal.SIGUSR2))
    return [signal.SIGTERM, signal.SIGUSR1, *([signal.SIGUSR2] if submitit else [])]


@contextmanager
def requeue_on_signal() -> Iterator[None]:
    """What a signal of Slurm's stops inside is put into the queue again.

    A training stops after a step; all else at once, for its last checkpoint is written by then.
    """
    handlers = {each: signal.getsignal(each) for each in (signal.SIGUSR1, signal.SIGUSR2)}
    queued = "SLURM_JOB_ID" in os.environ
    if queued and not callable(handlers[signal.SIGUSR1]):
        signal.signal(signal.SIGUSR1, lambda number, _: sys.exit(128 + number))
    try:
        yield
    except BaseException as stop:
        status = getattr(stop, "status", getattr(stop, "code", None))
        for number, handler in handlers.items():
            if status == 128 + number and callable(handler):
                handler(number, None)  # submitit's, which ends this process
            elif status == 128 + number and queued and not is_worker_rank():
                subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
        raise
    finally:
        if queued:
            signal.signal(signal.SIGUSR1, handlers[signal.SIGUSR1])
