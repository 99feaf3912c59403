"""The jobs of a multirun: their overrides, numbers and failures."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.runs import untrusted
from vaelab.runs.paths import FAILURE, MULTIRUN_RECORD

COLUMNS = ("val", "elbo", "nll", "kl", "active_units", "rmse", "wall_s", "images", "samples")
SIZES = ("images", "samples")  # of the evaluation, shown only where jobs differ in them
FAILED = "~ failed"  # sorts after the groups of jobs that have numbers


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """Read a row for each job of a multirun with its overrides and numbers, the best first.

    Only the rows of one group are comparable: those with the same likelihood, data, pixels and
    monitored value.
    """
    rows = [_row(path, path.relative_to(folder).as_posix()) for path in find_jobs(folder)]
    for row, words in zip(rows, differing_overrides([row["choices"] for row in rows]), strict=True):
        row["choices"] = words
    return sorted(rows, key=lambda row: (row["group"], -row.get("val", -math.inf), row["job"]))


def find_multirun(folder: Path) -> Path | None:
    """Return the folder of the multirun of a job, which may be some folders above; else None."""
    return next((each for each in folder.parents if (each / MULTIRUN_RECORD).exists()), None)


def is_run_folder(path: Path) -> bool:
    """True if the folder is that of a run or of a job of a multirun."""
    return (path / ".hydra").is_dir()


def find_jobs(folder: Path) -> list[Path]:
    """Return the run folders of a multirun, or of another folder of runs, sorted by their paths.

    With hydra.sweep.subdir the jobs of a multirun may lie deeper than in its folder. A run folder
    is its own only job.
    """
    if is_run_folder(folder):
        return [folder]
    children = sorted(path for path in folder.iterdir() if path.is_dir())
    if not (folder / MULTIRUN_RECORD).exists():
        return [path for path in children if is_run_folder(path)]
    return [job for child in children for job in _find_runs(child)]


def _find_runs(folder: Path) -> list[Path]:
    """Return the run folders at or below a folder; links to folders are not followed below it."""
    if is_run_folder(folder):
        return [folder]
    children = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return [run for child in children for run in _find_runs(child)]


def read_overrides(folder: Path) -> list[str]:
    """Read the overrides of a run; an unreadable file gives none."""
    try:
        found = untrusted.read_yaml(folder / ".hydra" / "overrides.yaml")
    except (ValueError, OSError):
        return []
    return [str(word) for word in found] if isinstance(found, list) else []


def differing_overrides(choices: list[list[str]]) -> list[str]:
    """Return, for each of several runs, the overrides that not all of them have."""
    common = set.intersection(*map(set, choices)) if len(choices) > 1 else set()
    return [" ".join(word for word in words if word not in common) for words in choices]


def name_run(folder: Path) -> str:
    """Return the name of a run folder; for a job of a multirun also what differs: "0: kl.beta=4".

    Arguments:
        folder: The absolute path of the run folder.
    """
    multirun = find_multirun(folder)
    if multirun is None:
        return folder.name
    jobs = find_jobs(multirun)
    words = differing_overrides([read_overrides(job) for job in jobs])
    described = dict(zip(jobs, words, strict=True)).get(folder)
    return f"{folder.name}: {described}" if described else folder.name


def comparison_group(numbers: Mapping[str, Any]) -> str:
    """Return the name of the group of comparable runs: likelihood, data, shape, kind of pixels."""
    chosen, shape = numbers["choices"], "x".join(str(edge) for edge in numbers["shape"])
    on = f"{chosen['loss']} on {numbers['pixels']} pixels of {chosen['data']} {shape}"
    return f"{on} ({numbers['measure']})"


def _row(folder: Path, job: str) -> dict[str, Any]:
    row: dict[str, Any] = {"job": job, "choices": read_overrides(folder)}
    if (failed := folder / FAILURE).exists():  # a job with NaN in its numbers has both files
        return row | {"group": FAILED, "failed": untrusted.read_message(failed)}
    try:
        numbers = untrusted.read_numbers(folder / "metrics.json")
        if not numbers:
            return row | {"group": FAILED, "failed": "it was interrupted"}
        row["group"] = f"{comparison_group(numbers)}, ranked by {numbers['monitor']}"
    except KeyError as error:
        return row | {"group": FAILED, "failed": f"metrics.json has no {error}"}
    except ValueError as error:
        return row | {"group": FAILED, "failed": str(error)}
    numbers["val"] = numbers.get(numbers["monitor"].replace("/", "_"))
    return row | {name: numbers[name] for name in COLUMNS if numbers.get(name) is not None}
