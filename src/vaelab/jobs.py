"""What happens around jobs: a failed one leaves one line or nothing, a multirun ends in a table."""

import contextlib
import csv
import math
import shutil
import traceback
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from vaelab import foreign, multirun, slurm
from vaelab.command import JobFailed, is_users, one_line

COLUMNS = {
    "val": "val",
    "elbo": "ELBO",
    "nll": "NLL",
    "kl": "KL",
    "active_units": "active",
    "rmse": "RMSE",
    "wall_s": "s",
}
FAILURE = "failed.txt"  # of a job, the reason
FAILED = "~ failed"  # sorts after the groups of jobs that have numbers


class Jobs(Callback):
    """Hydra calls this before and after the jobs of a command."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder, asked = Path(config.hydra.run.dir), config.hydra.overrides
        if slurm.tasks() > 1 and not any(word.startswith("hydra.run.dir=") for word in asked.hydra):
            raise JobFailed from ValueError(
                "the processes of one run share its folder: name it, as in hydra.run.dir=runs/mine"
            )
        again = slurm.restarted() and overrides(folder) == list(asked.task)
        if not slurm.helps() and not again and (folder / "checkpoints").exists():
            raise JobFailed from ValueError(
                f"hydra.run.dir={folder} holds a run already: choose another, or delete it"
            )

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if slurm.tasks() > 1:
            raise JobFailed from ValueError(
                "several processes would each run the whole multirun: leave out srun and torchrun, "
                "and give each job its own with trainer=ddp or hydra/launcher=slurm"
            )
        try:
            multirun.begin(config, close)
        except Exception as error:  # Hydra would make a warning of it
            raise JobFailed from error

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if not slurm.helps():
            Path(config.hydra.runtime.output_dir, FAILURE).unlink(missing_ok=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        failed, result = job_return.status == JobStatus.FAILED, job_return._return_value
        if slurm.helps():  # the first process says what is wrong
            if failed:
                raise SystemExit(1)
            return
        folder = Path(config.hydra.runtime.output_dir)
        if config.hydra.mode == RunMode.MULTIRUN:
            if failed:
                _tell_failure(result, config.hydra.job.num, folder)
            else:
                (folder / multirun.VALUE).write_text(f"{result}\n")
            job_return.status = JobStatus.COMPLETED
            job_return.return_value = None if failed or math.isnan(result) else result
            return
        if not failed:
            return
        if all(path.name == ".hydra" for path in folder.iterdir()):
            shutil.rmtree(folder)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()  # only if it is empty
        raise JobFailed from result

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        multirun.open_folders.clear()
        if not close(Path(config.hydra.sweep.dir)):
            raise SystemExit(1)


def close(folder: Path) -> bool:
    """End a multirun in a table and a report; whether all is well with its jobs."""
    rows = read(folder)
    if not rows:
        return True
    write_csv(rows, folder / "table.csv")
    show(rows)
    well = not any("failed" in row for row in rows)
    if not well:
        print(multirun.how_to_go_on(folder))
    from vaelab.report.write import write_or_say_why  # not before there is a use for it

    write_or_say_why(folder)
    print(folder.resolve())
    return well


def _tell_failure(error: Exception, job: int, folder: Path) -> None:
    if not is_users(error):
        traceback.print_exception(error)
    (folder / FAILURE).write_text(one_line(error) + "\n")
    print(f"job {job} failed: {one_line(error)}")


def read(folder: Path) -> list[dict[str, Any]]:
    """A row for each job of a multirun: what was chosen and what came out, the best first.

    Only rows of one group can be compared: the same likelihood on the same data and pixels, and
    objectives that are judged by the same value.
    """
    rows = [_row(path) for path in folder.iterdir() if (path / ".hydra").is_dir()]
    for row, words in zip(rows, differing([row["choices"] for row in rows]), strict=True):
        row["choices"] = words
    return sorted(rows, key=lambda row: (row["group"], -row.get("val", -math.inf), row["job"]))


def overrides(folder: Path) -> list[str]:
    """What was typed for the run of a folder, nothing where that cannot be read."""
    try:
        found = foreign.plain(folder / ".hydra" / "overrides.yaml")
    except (ValueError, OSError):
        return []
    return [str(word) for word in found] if isinstance(found, list) else []


def differing(choices: list[list[str]]) -> list[str]:
    """What each of several runs was asked for that not all were."""
    common = set.intersection(*map(set, choices)) if len(choices) > 1 else set()
    return [" ".join(word for word in words if word not in common) for words in choices]


def group(numbers: dict[str, Any]) -> str:
    """The runs that a run can be compared with: of this likelihood, data, shape and pixel kind."""
    chosen, shape = numbers["choices"], "x".join(str(edge) for edge in numbers["shape"])
    on = f"{chosen['loss']} on {numbers['pixels']} pixels of {chosen['data']} {shape}"
    return f"{on} ({numbers['measure']})"


def _row(folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"job": folder.name, "choices": overrides(folder)}
    if (failed := folder / FAILURE).exists():  # beside numbers that are not finite, too
        return row | {"group": FAILED, "failed": failed.read_text(errors="replace").strip()}
    try:
        numbers = foreign.numbers(folder / "metrics.json")
        if not numbers:
            return row | {"group": FAILED, "failed": "it was interrupted"}
        row["group"] = f"{group(numbers)}, ranked by {numbers['monitor']}"
    except KeyError as error:
        return row | {"group": FAILED, "failed": f"metrics.json does not say its {error}"}
    except ValueError as error:
        return row | {"group": FAILED, "failed": str(error)}
    numbers["val"] = numbers.get(numbers["monitor"].replace("/", "_"))
    return row | {name: numbers[name] for name in COLUMNS if numbers.get(name) is not None}


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    names = ["job", "choices", "group", *COLUMNS, "failed"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def show(rows: list[dict[str, Any]]) -> None:
    """A table for each group, ranked inside it by the ELBO of the validation images."""
    from rich.console import Console
    from rich.table import Column, Table

    for group in dict.fromkeys(row["group"] for row in rows):
        members = [row for row in rows if row["group"] == group]
        shown = {key: title for key, title in COLUMNS.items() if any(key in row for row in members)}
        numbers = [Column(title, justify="right", no_wrap=True) for title in shown.values()]
        last = [Column("reason")] if group == FAILED else []
        table = Table("job", Column("choices", overflow="fold"), *numbers, *last, title=group)
        for row in members:
            values = [f"{row[key]:.4g}" if key in row else "" for key in shown]
            table.add_row(row["job"], row["choices"], *values, *(row["failed"] for _ in last))
        Console().print(table)
