"""What Slurm is to a run: several processes, a job that is started again, a signal before that.

`trainer=slurm_ddp` is a process for each task of srun; `hydra/launcher=slurm` a job of the queue for
each job of a multirun. SIGUSR1, which a script asks for by `#SBATCH --signal=USR1@60`, and what
submitit sends stop the training after a step and put the job into the queue again.
"""

import os
import signal
import subprocess


def helps() -> bool:
    """Whether this process is one of several of the same job, and not the first."""
    names = ("LOCAL_RANK", "RANK", "SLURM_PROCID")
    return any(os.environ.get(name, "0") != "0" for name in names)


def tasks() -> int:
    """How many processes srun or torchrun started for this job."""
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)


def restarted() -> bool:
    """Whether this is a job that Slurm has put into the queue again."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


def give_way(number: int) -> None:
    """After a training was stopped by a signal, have the queue start its job again."""
    handler = signal.getsignal(number)
    if number == signal.SIGUSR2 and callable(handler):
        handler(number, None)  # submitit's, which ends this process
    elif number == signal.SIGUSR1 and "SLURM_JOB_ID" in os.environ and not helps():
        subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
