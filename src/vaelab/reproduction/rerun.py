"""Repeat a finished run, and say whether its numbers come out again: `scripts/rerun.py <run>`."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vaelab.runs import provenance, weights
from vaelab.runs.checkpoints import read_checkpoint
from vaelab.runs.recorded import RecordedRun, read_recorded_run
from vaelab.runtime.errors import subprocess_environment

TIMES = ("wall_s", "seconds", "resumed")  # numbers that no two runs share
UNLIKE = ("command", "folder", "cwd", *TIMES)  # of the record, what says nothing about the numbers
CHECKPOINTS = ("best", "last")


class Difference(NamedTuple):
    name: str
    first: Any
    second: Any


def repeat_run(folder: Path, out: Path | None, command: Path) -> Path:
    """Train once more what a run folder records: its config, its threads, its working folder.

    Arguments:
        out: The new folder; None is runs/<now>.
        command: train.py.
    """
    found = _repeatable(folder)
    out = (out or Path("runs", f"{datetime.now():%Y-%m-%d_%H-%M-%S}")).resolve()
    if out.exists():
        raise ValueError(f"--out {out}: it is there already, choose another")
    shutil.copytree(folder / ".hydra", out / ".hydra")
    done = subprocess.run(
        [sys.executable, str(command), f"resume={out}"],
        cwd=found.started,
        env=_environment(provenance.read_provenance(folder)),
        check=False,
    )
    if done.returncode:
        raise ValueError(f"the second run failed, see above; what there is of it is in {out}")
    return out


def _repeatable(folder: Path) -> RecordedRun:
    if weights.find_weights_file(folder):
        raise ValueError(f"{folder} holds weights only: give the folder of the run they are from")
    found = read_recorded_run(folder)
    if not (folder / "metrics.json").is_file():
        raise ValueError(
            f"{folder} has no metrics.json to compare with: finish it, python train.py "
            f"resume={folder}"
        )
    if not Path(found.started).is_dir():
        raise ValueError(
            f"{found.started}, where {folder} was begun, is no folder here: its relative paths "
            "begin there, so make it, or change cwd in .hydra/hydra.yaml"
        )
    return found


def _environment(said: Mapping[str, Any]) -> dict[str, str]:
    """This one with the threads of the record; the number of cores decides where it has none."""
    environment = subprocess_environment()
    threads = said.get("threads", {})
    given = threads.get("OMP_NUM_THREADS")
    if given is None and said.get("cores") != os.cpu_count():
        given = threads.get("torch")
    if given is not None:
        environment["OMP_NUM_THREADS"] = str(given)
    elif threads:
        environment.pop("OMP_NUM_THREADS", None)
    return environment


def find_differences(first: Path, second: Path) -> list[Difference]:
    """The numbers of two runs that are not the same to the bit, weights among them."""
    ours, theirs = (
        provenance.flatten(json.loads((each / "metrics.json").read_text()))
        for each in (first, second)
    )
    numbers = {**ours, **theirs}
    found = [
        Difference(name, ours.get(name), theirs.get(name))
        for name, value in numbers.items()
        if type(value) in (int, float) and name not in TIMES and ours.get(name) != theirs.get(name)
    ]
    for name in CHECKPOINTS:
        found += _weights(*(each / "checkpoints" / f"{name}.ckpt" for each in (first, second)))
    return found


def _weights(first: Path, second: Path) -> list[Difference]:
    if not first.is_file():
        return []
    ours, theirs = (read_checkpoint(each)["state_dict"] for each in (first, second))
    furthest = max(
        ((ours[name] - theirs[name]).abs().max().item() for name in ours if ours[name].numel()),
        default=0.0,
    )
    same = all(torch.equal(ours[name], theirs[name]) for name in ours)
    return [] if same else [Difference(f"weights of {first.name}, furthest", 0.0, furthest)]


def compare_provenance(first: Path, second: Path) -> list[Difference]:
    """In what two runs were not alike: versions, threads, machine, data, code."""
    ours, theirs = (
        provenance.flatten(provenance.read_provenance(each)) for each in (first, second)
    )
    return [
        Difference(name, ours.get(name, "unknown"), theirs.get(name, "unknown"))
        for name in {**ours, **theirs}
        if name.split(".")[0] not in UNLIKE and ours.get(name) != theirs.get(name)
    ]


def format_comparison(first: Path, second: Path) -> str:
    """What to say of two runs."""
    found, unlike = find_differences(first, second), compare_provenance(first, second)
    if not found:
        lines = ["the same to the bit: all numbers of metrics.json and the weights"]
    else:
        lines = [f"{len(found)} numbers are not the same:"]
        lines += [f"  {each.name}: {_compared(each)}" for each in found]
    lines += ["what was not alike:"] if unlike else ["what was recorded of both runs is alike"]
    lines += [f"  {each.name}: {each.first} -> {each.second}" for each in unlike]
    return "\n".join(lines)


def _compared(each: Difference) -> str:
    numbers = [type(value) in (int, float) for value in (each.first, each.second)]
    by = f", by {each.second - each.first:.3g}" if all(numbers) else ""
    return f"{each.first} -> {each.second}{by}"
