"""The jobs of a multirun: their overrides, numbers and failures."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.runs import untrusted
from vaelab.runs.paths import FAILURE, MULTIRUN_RECORD

COLUMNS = ("val", "elbo", "nll", "kl", "active_units", "rmse", "wall_s")
FAILED = "~ failed"  # sorts after the groups of jobs that have numbers


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """Read a row for each job of a multirun with its overrides and numbers, the best first.

    Only the rows of one group are comparable: those with the same likelihood, data, pixels and
    monitored value.
    """
    rows = [_row(path) for path in folder.iterdir() if (path / ".hydra").is_dir()]
    for row, words in zip(rows, differing_overrides([row["choices"] for row in rows]), strict=True):
        row["choices"] = words
    return sorted(rows, key=lambda row: (row["group"], -row.get("val", -math.inf), row["job"]))


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
    if not (folder.parent / MULTIRUN_RECORD).is_file():
        return folder.name
    jobs = [path for path in sorted(folder.parent.iterdir()) if (path / ".hydra").is_dir()]
    words = differing_overrides([read_overrides(job) for job in jobs])
    described = dict(zip(jobs, words, strict=True)).get(folder)
    return f"{folder.name}: {described}" if described else folder.name


def comparison_group(numbers: Mapping[str, Any]) -> str:
    """Return the name of the group of comparable runs: likelihood, data, shape, kind of pixels."""
    chosen, shape = numbers["choices"], "x".join(str(edge) for edge in numbers["shape"])
    on = f"{chosen['loss']} on {numbers['pixels']} pixels of {chosen['data']} {shape}"
    return f"{on} ({numbers['measure']})"


def _row(folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"job": folder.name, "choices": read_overrides(folder)}
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
