"""What happens around jobs: a failed one leaves one line or nothing, a multirun ends in a table."""

import contextlib
import math
import shutil
import traceback
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from vaelab.runs import jobs, paths
from vaelab.runtime import slurm
from vaelab.runtime.errors import JobFailed, is_user_error, one_line_message
from vaelab.runtime.files import atomic_write, locked
from vaelab.sweeps import job_table, multirun


class JobCallback(Callback):
    """Hydra calls this before and after the jobs of a command."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder, asked = Path(config.hydra.run.dir), config.hydra.overrides
        if slurm.count_tasks() > 1 and not any(
            word.startswith("hydra.run.dir=") for word in asked.hydra
        ):
            raise JobFailed from ValueError(
                "the processes of one run share its folder: name it, as in hydra.run.dir=runs/mine"
            )
        again = slurm.was_requeued() and jobs.read_overrides(folder) == list(asked.task)
        if not slurm.is_worker_rank() and not again and (folder / "checkpoints").exists():
            raise JobFailed from ValueError(
                f"hydra.run.dir={folder} holds a run already: choose another, or delete it"
            )

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if slurm.count_tasks() > 1:
            raise JobFailed from ValueError(
                "several processes would each run the whole multirun: leave out srun and torchrun, "
                "and give each job its own with trainer=ddp or hydra/launcher=slurm"
            )
        try:
            multirun.start_multirun(config, finish_multirun)
        except Exception as error:  # Hydra would make a warning of it
            raise JobFailed from error

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if not slurm.is_worker_rank():
            Path(config.hydra.runtime.output_dir, paths.FAILURE).unlink(missing_ok=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        failed, result = job_return.status == JobStatus.FAILED, job_return._return_value
        if slurm.is_worker_rank():  # the first process says what is wrong
            if failed:
                raise SystemExit(1)
            return
        folder = Path(config.hydra.runtime.output_dir)
        if config.hydra.mode == RunMode.MULTIRUN:
            if failed:
                _tell_failure(result, config.hydra.job.num, folder)
            else:
                with atomic_write(folder / paths.VALUE) as part:
                    part.write_text(f"{result}\n")
            job_return.status = JobStatus.COMPLETED
            job_return.return_value = None if failed or math.isnan(result) else result
            return
        if not failed:
            return
        with locked(folder / paths.LOCK) as ours:
            if ours and all(path.name == ".hydra" for path in folder.iterdir()):
                shutil.rmtree(folder)
                with contextlib.suppress(OSError):
                    folder.parent.rmdir()  # only if it is empty
        raise JobFailed from result

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        multirun.open_folders.clear()
        if not finish_multirun(Path(config.hydra.sweep.dir)):
            raise SystemExit(1)


def finish_multirun(folder: Path) -> bool:
    """End a multirun in a table and a report; whether all is well with its jobs."""
    rows = jobs.read_jobs(folder)
    if not rows:
        return True
    job_table.write_job_table(rows, folder / "table.csv")
    job_table.print_job_tables(rows)
    well = not any("failed" in row for row in rows)
    if not well:
        print(multirun.resume_hint(folder))
    from vaelab.report.write import write_report_or_warn  # not before there is a use for it

    write_report_or_warn(folder)
    print(folder.resolve())
    return well


def _tell_failure(error: Exception, job: int, folder: Path) -> None:
    if not is_user_error(error):
        traceback.print_exception(error)
    (folder / paths.FAILURE).write_text(one_line_message(error) + "\n")
    print(f"job {job} failed: {one_line_message(error)}")
