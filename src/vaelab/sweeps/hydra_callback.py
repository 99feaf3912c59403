"""The callback that Hydra calls around the jobs of a command.

A failed run leaves a one-line error and no empty folder. A multirun records the value or the error
of each job, and ends with a table and a report.
"""

import math
import shutil
import traceback
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, read_write

from vaelab.loggers.offline_runs import find_upload_command
from vaelab.runs import paths
from vaelab.runs.jobs import read_jobs, read_overrides
from vaelab.runs.ownership import (
    FolderInUseError,
    get_command_locks,
    has_default_name,
    owned_new_folder,
    owned_run,
)
from vaelab.runtime import slurm
from vaelab.runtime.errors import JobFailed, UserError, is_user_error, one_line_message
from vaelab.runtime.files import atomic_write
from vaelab.runtime.private_api import job_result
from vaelab.sweeps import multirun
from vaelab.sweeps.job_table import print_job_tables, write_job_table

# Files of a run or a multirun; overrides.yaml is the last one that Hydra writes.
RECORDS = (".hydra/overrides.yaml", "checkpoints", "metrics.json", paths.MULTIRUN_RECORD)


class JobCallback(Callback):
    """Checks run folders before a job, and records results and failures after it."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder, overrides = Path(config.hydra.run.dir), config.hydra.overrides
        is_named = any(word.startswith("hydra.run.dir=") for word in overrides.hydra)
        if slurm.count_tasks() > 1 and not is_named:
            raise JobFailed from UserError(
                "the processes of one run share its folder, so it has to be named: add "
                "hydra.run.dir=runs/mine"
            )
        is_requeued = slurm.was_requeued() and read_overrides(folder) == list(overrides.task)
        if slurm.is_worker_rank():  # the first process owns the folder
            return
        try:
            own_run_folder(config, is_requeued)
        except Exception as error:  # Hydra would turn it into a warning
            raise JobFailed from error

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if slurm.count_tasks() > 1:
            raise JobFailed from UserError(
                "each process would run the whole multirun: leave out srun and torchrun, and give "
                "each job its own processes with trainer=ddp or hydra/launcher=slurm"
            )
        try:
            multirun.start_multirun(config)
        except Exception as error:  # Hydra would turn it into a warning
            raise JobFailed from error

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if not slurm.is_worker_rank():
            Path(config.hydra.runtime.output_dir, paths.FAILURE).unlink(missing_ok=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        has_failed, result = job_return.status == JobStatus.FAILED, job_result(job_return)
        folder = Path(config.hydra.runtime.output_dir)
        if slurm.is_worker_rank():  # the first process reports the error
            if has_failed:
                raise SystemExit(1)
        elif config.hydra.mode == RunMode.MULTIRUN:
            if has_failed:
                _record_failure(result, config.hydra.job.num, folder)
            else:
                with atomic_write(folder / paths.VALUE) as part:
                    part.write_text(f"{result}\n", encoding="utf-8")
            job_return.status = JobStatus.COMPLETED
            job_return.return_value = None if has_failed or math.isnan(result) else result
        elif has_failed:
            _remove_unused_folder(folder)
            raise JobFailed from result

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        multirun.active_folder.set(None)
        if not finish_multirun(Path(config.hydra.sweep.dir)):
            raise SystemExit(1)


def finish_multirun(folder: Path) -> bool:
    """Print and write the table of a multirun, and its report; True if no job has failed."""
    rows = read_jobs(folder)
    if not rows:
        return True
    write_job_table(rows, folder / "table.csv")
    print_job_tables(rows)
    has_failed_jobs = any("failed" in row for row in rows)
    if has_failed_jobs:
        print(f"to run the failed jobs again: {multirun.resume_hint(folder)}")
    from vaelab.report.write import write_report_or_warn  # slow to import

    write_report_or_warn(folder)
    if command := find_upload_command(folder):
        print(f"W&B is offline. To upload the runs of this multirun:\n{command}")
    print(folder.resolve())
    return not has_failed_jobs


def _record_failure(error: Exception, job: int, folder: Path) -> None:
    if not is_user_error(error):
        traceback.print_exception(error)
    if not isinstance(error, FolderInUseError):  # its owner records how the job ends
        (folder / paths.FAILURE).write_text(one_line_message(error) + "\n", encoding="utf-8")
    print(f"job {job} failed: {one_line_message(error)}")


def own_run_folder(config: DictConfig, is_requeued: bool = False) -> None:
    """Own the run folder of a command until its end; it must not hold a run.

    Arguments:
        is_requeued: The folder holds the run of this command, which Slurm has started again.

    Raises:
        UserError: If the folder holds a run, or another process owns it.
    """
    locks, folder = get_command_locks(), Path(config.hydra.run.dir)
    if has_default_name(config.hydra.run):
        folder = locks.enter_context(owned_new_folder(folder))
        with read_write(config):
            config.hydra.run.dir = str(folder)
        return
    locks.enter_context(owned_run(folder))
    if any((folder / name).exists() for name in RECORDS) and not is_requeued:
        raise UserError(
            f"hydra.run.dir={folder} already holds a run: choose another folder, or delete it"
        )


def _remove_unused_folder(folder: Path) -> None:
    """Remove a run folder that holds nothing but Hydra's files; this process owns it."""
    if all(path.name == ".hydra" for path in folder.iterdir()):
        shutil.rmtree(folder)
