"""Slurm's environment: several tasks of a job, requeued jobs, and the signals before a requeue.

`trainer=slurm_ddp` runs one process for each task of srun, and `hydra/launcher=slurm` submits each
job of a multirun to the queue. Two signals stop a training after an optimizer step and requeue its
job: SIGUSR1, which a script requests by `#SBATCH --signal=USR1@120`, and SIGUSR2, which submitit
requests.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from vaelab.runtime.posix import USER_SIGNALS


def is_worker_rank() -> bool:
    """True if this process is one of several of a job, and not the first."""
    names = ("LOCAL_RANK", "RANK", "SLURM_PROCID")
    return any(os.environ.get(name, "0") != "0" for name in names)


def count_tasks() -> int:
    """Return the number of processes that srun or torchrun started for this job."""
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)


def was_requeued() -> bool:
    """True if Slurm has requeued this job."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


def stop_signals() -> list[int]:
    """Return the signals that stop a training; SIGUSR2 only where submitit handles it."""
    submitit = [each for each in USER_SIGNALS[1:] if callable(signal.getsignal(each))]
    return [signal.SIGINT, signal.SIGTERM, *USER_SIGNALS[:1], *submitit]


@contextmanager
def requeue_on_signal() -> Iterator[None]:
    """Requeue the Slurm job if one of Slurm's signals stops it inside the context.

    A training stops after an optimizer step. Before and after it the process stops at once, because
    the last checkpoint is complete then.
    """
    handlers = {each: signal.getsignal(each) for each in USER_SIGNALS}
    requested = USER_SIGNALS[:1] if "SLURM_JOB_ID" in os.environ else ()
    for each in requested:
        if not callable(handlers[each]):
            signal.signal(each, lambda number, _: sys.exit(128 + number))
    try:
        yield
    except BaseException as stop:
        status = getattr(stop, "status", getattr(stop, "code", None))
        for number, handler in handlers.items():
            if status == 128 + number and callable(handler):
                handler(number, None)  # submitit's handler ends this process
            elif status == 128 + number and requested and not is_worker_rank():
                subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
        raise
    finally:
        for each in requested:
            signal.signal(each, handlers[each])
