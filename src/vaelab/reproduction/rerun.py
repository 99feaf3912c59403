"""Repeat a finished run and compare the numbers: `vaelab rerun <run>`."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vaelab.runs import provenance, weights
from vaelab.runs.checkpoints import read_checkpoint
from vaelab.runs.ownership import owned_new_folder, owned_run
from vaelab.runs.paths import DATA, RERUN_OF
from vaelab.runs.recorded import RecordedRun, read_recorded_run
from vaelab.runs.untrusted import read_text
from vaelab.runtime.errors import UserError, subprocess_environment
from vaelab.runtime.installation import subprocess_command

TIMING_KEYS = ("wall_s", "seconds", "resumed")  # differ between any two runs
IGNORED_KEYS = ("command", "folder", "cwd", *TIMING_KEYS)  # of the provenance
CHECKPOINTS = ("best", "last")


class Difference(NamedTuple):
    """A number or a provenance entry that differs between two runs."""

    name: str
    first: Any
    second: Any


def repeat_run(folder: Path, out: Path | None) -> Path:
    """Train a run again with its recorded config, number of threads and working folder.

    Arguments:
        folder: The run folder.
        out: The new run folder; None means runs/<now>.

    Returns:
        The new run folder.

    Raises:
        UserError: If the run cannot be repeated, `out` exists, or the training fails.
    """
    run = _read_repeatable_run(folder)
    with _owned_folder(out) as out:  # until it holds a run, which nobody else may start there
        shutil.copytree(folder / ".hydra", out / ".hydra")
        if (folder / DATA).is_file():
            shutil.copy(folder / DATA, out / DATA)
        (out / RERUN_OF).write_text(f"{folder.resolve()}\n", encoding="utf-8")
    training = subprocess.run(
        subprocess_command("resume", str(out)),
        cwd=run.started,
        env=_build_environment(provenance.read_provenance(folder)),
        check=False,
    )
    if training.returncode:
        raise UserError(f"the second run failed, see above; its files are in {out}")
    return out


@contextmanager
def _owned_folder(out: Path | None) -> Iterator[Path]:
    """Own a folder that does not exist; None is runs/<time>."""
    if out is None:
        time = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
        with owned_new_folder(Path("runs", time).resolve()) as folder:
            yield folder
        return
    with owned_run(out):
        if out.exists():
            raise UserError(f"--out {out}: this folder exists already, choose another one")
        yield out.resolve()


def _read_repeatable_run(folder: Path) -> RecordedRun:
    """Read a run folder and check that it holds what a repetition needs."""
    if weights.find_weights_file(folder):
        raise UserError(f"{folder} holds only weights: give the run folder that they come from")
    run = read_recorded_run(folder)
    if not (folder / "metrics.json").is_file():
        raise UserError(
            f"{folder} has no metrics.json to compare with: finish it with vaelab resume {folder}"
        )
    if not Path(run.started).is_dir():
        raise UserError(
            f"{folder} was started in {run.started}, which is no folder of this machine: create "
            "it, since relative paths of the config begin there, or change cwd in "
            ".hydra/hydra.yaml"
        )
    return run


def _build_environment(record: Mapping[str, Any]) -> dict[str, str]:
    """Build an environment with the recorded number of threads.

    A run without OMP_NUM_THREADS used a default that depends on the number of cores. On a machine
    with another number of cores, the number of threads is set explicitly.
    """
    environment = subprocess_environment()
    threads = record.get("threads", {})
    count = threads.get("OMP_NUM_THREADS")
    if count is None and record.get("cores") != os.cpu_count():
        count = threads.get("torch")
    if count is not None:
        environment["OMP_NUM_THREADS"] = str(count)
    elif threads:
        environment.pop("OMP_NUM_THREADS", None)
    return environment


def find_differences(first: Path, second: Path) -> list[Difference]:
    """Find the numbers and weights of two run folders that are not bit-identical."""
    old, new = (
        provenance.flatten(json.loads(read_text(folder / "metrics.json")))
        for folder in (first, second)
    )
    differences = [
        Difference(name, old.get(name), new.get(name))
        for name, value in {**old, **new}.items()
        if type(value) in (int, float)
        and name not in TIMING_KEYS
        and old.get(name) != new.get(name)
    ]
    for name in CHECKPOINTS:
        paths = (folder / "checkpoints" / f"{name}.ckpt" for folder in (first, second))
        differences += _compare_weights(*paths)
    return differences


def _compare_weights(first: Path, second: Path) -> list[Difference]:
    """Return the largest difference of two checkpoints; empty if they are bit-identical."""
    if not first.is_file():
        return []
    old, new = (read_checkpoint(path)["state_dict"] for path in (first, second))
    largest = max(
        ((old[name] - new[name]).abs().max().item() for name in old if old[name].numel()),
        default=0.0,
    )
    same = all(torch.equal(old[name], new[name]) for name in old)
    return [] if same else [Difference(f"weights of {first.name}, largest", 0.0, largest)]


def compare_provenance(first: Path, second: Path) -> list[Difference]:
    """Find what differs in the provenance of two runs: versions, threads, machine, data, code."""
    old, new = (
        provenance.flatten(provenance.read_provenance(folder)) for folder in (first, second)
    )
    return [
        Difference(name, old.get(name, "unknown"), new.get(name, "unknown"))
        for name in {**old, **new}
        if name.split(".")[0] not in IGNORED_KEYS and old.get(name) != new.get(name)
    ]


def format_comparison(first: Path, second: Path) -> str:
    """Describe the differences between two runs in lines."""
    differences, provenances = find_differences(first, second), compare_provenance(first, second)
    if not differences:
        lines = ["bit-identical: all numbers of metrics.json and the weights"]
    else:
        lines = [f"{len(differences)} numbers differ:"]
        lines += [
            f"  {difference.name}: {_format_difference(difference)}" for difference in differences
        ]
    lines += ["different provenance:"] if provenances else ["both runs have the same provenance"]
    lines += [f"  {entry.name}: {entry.first} -> {entry.second}" for entry in provenances]
    return "\n".join(lines)


def _format_difference(difference: Difference) -> str:
    _, first, second = difference
    are_numbers = all(type(value) in (int, float) for value in (first, second))
    by = f", by {second - first:.3g}" if are_numbers else ""
    return f"{first} -> {second}{by}"
