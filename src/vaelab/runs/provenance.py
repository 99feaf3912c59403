"""provenance.json: what a run begins with.

It is written before the first step: command, code, versions, threads, machine and the hashes of
the data; code that is not committed is in uncommitted.diff.
"""

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.nn import Module

from vaelab.data.base import Split
from vaelab.runs.metrics_file import write_numbers
from vaelab.runs.paths import PROVENANCE
from vaelab.runs.recorded import read_recorded_run
from vaelab.runs.run import Run

PARTS = ("encoder", "posterior", "prior", "decoder", "likelihood")
HERE = Path(__file__).parent
CODE = ("src", "conf", "scripts")  # whose new files are code and never data
ROWS = 10_000  # that are hashed at a time
PACKAGES = ("vaelab", "torch", "pytorch-lightning", "hydra-core", "torchmetrics", "numpy")


def check_published(published: Any) -> None:
    """Refuse a paper's figure that does not say where it is from."""
    if published is not None and not is_published_value(published):
        raise ValueError(
            f"published={published}: give a number and its source, as in "
            "published='{value: 84.78, source: IWAE table 1}'"
        )


def is_published_value(found: Any) -> bool:
    """Whether it is a number with its source."""
    return (
        isinstance(found, Mapping)
        and {"value", "source"} <= found.keys()
        and type(found["value"]) in (int, float)
    )


def count_sizes(run: Run) -> dict[str, Any]:
    """The parameters of each part, and how many numbers come from encoder and decoder.

    Of several stochastic layers, no one number says what the encoder gives.
    """
    vae = run.vae
    parts = {name: getattr(vae, name) for name in PARTS} | {"objective": run.module.objective}
    sizes: dict[str, Any] = {"decoder_outputs": [vae.likelihood.outputs, *vae.shape[1:]]}
    if not vae.layered:
        sizes["encoder_outputs"] = vae.posterior.inputs
    counts = {name: _parameters(part) for name, part in parts.items()}
    return sizes | {"parameters": _parameters(vae), "parameters_of": counts}


def _parameters(part: Module) -> int:
    return sum(weight.numel() for weight in part.parameters())


def collect_provenance(folder: Path) -> dict[str, Any]:
    """What was chosen, asked for and installed."""
    return {
        "choices": read_choices(folder),
        "command": shlex.join(sys.argv),
        "git": _commit(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
    }


def read_choices(folder: Path) -> dict[str, str]:
    """The option taken from each config group in the run of this folder."""
    return read_recorded_run(folder).choices


def write_provenance(run: Run, folder: Path) -> None:
    """Write what a run begins with; one that goes on keeps what it was begun with."""
    path = folder / PROVENANCE
    if path.exists():
        return
    if diff := _uncommitted():
        (folder / "uncommitted.diff").write_bytes(diff)
    write_numbers(
        collect_provenance(folder)
        | {
            "cwd": str(Path.cwd()),
            "diff_sha256": hashlib.sha256(diff).hexdigest() if diff else None,
            "threads": {
                "torch": torch.get_num_threads(),
                "between_operations": torch.get_num_interop_threads(),
                "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
            },
            "cores": os.cpu_count(),
            "machine": describe_machine(),
            "data_sha256": {name: _hash(split) for name, split in run.data.splits.items()},
        },
        path,
    )


def read_provenance(folder: Path) -> dict[str, Any]:
    """What is known of the beginning of a run; of an older one that is less."""
    for name in (PROVENANCE, "metrics.json"):
        if (folder / name).is_file():
            known = json.loads((folder / name).read_text())
            return (
                known
                if name == PROVENANCE
                else {key: known.get(key) for key in ("git", "versions")}
            )
    return {}


def flatten(node: Mapping[str, Any] | list[Any], above: str = "") -> dict[str, Any]:
    """The values of nested dicts and lists by their paths, as in versions.torch."""
    found: dict[str, Any] = {}
    pairs = node.items() if isinstance(node, Mapping) else enumerate(node)
    for key, value in pairs:
        if isinstance(value, (Mapping, list)):
            found |= flatten(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found


def describe_machine() -> dict[str, Any]:
    """The kind of the processors that the numbers come from."""
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": next(_cpu_names(), platform.processor()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


def _cpu_names() -> Iterator[str]:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("model name"):
            yield line.partition(":")[2].strip()


def _hash(split: Split) -> str:
    """SHA-256 of images and labels as they are stored."""
    found = hashlib.sha256()
    for part in split:
        found.update(str((part.dtype, *part.shape)).encode())
        for some in part.split(ROWS):
            found.update(some.numpy().tobytes())
    return found.hexdigest()


def _commit() -> dict[str, Any] | None:
    commit = _git_says("rev-parse", "HEAD")
    changed = bool(_git_says("status", "--porcelain"))
    return {"commit": commit, "changed": changed} if commit else None


def _uncommitted(here: Path = HERE) -> bytes:
    """What `git apply` makes of the commit what was run: changes, and new files among the code.

    They are added to a copy of the index, so that git's own stays as it is.
    """
    top = _git_says("rev-parse", "--show-toplevel", here=here)
    index = _git_says("rev-parse", "--absolute-git-dir", here=here)
    if top is None or index is None:
        return b""
    with TemporaryDirectory() as folder:
        copy = Path(folder, "index")
        if Path(index, "index").is_file():
            shutil.copyfile(Path(index, "index"), copy)
        place, environment = Path(top), os.environ | {"GIT_INDEX_FILE": str(copy)}
        new = [each for each in CODE if (place / each).is_dir()]
        _git("add", "--intent-to-add", "--", *new, here=place, env=environment)
        return _git("diff", "HEAD", "--binary", here=place, env=environment) or b""


def _git_says(*words: str, here: Path = HERE) -> str | None:
    said = _git(*words, here=here)
    return None if said is None else os.fsdecode(said).strip()


def _git(*words: str, here: Path, env: Mapping[str, str] | None = None) -> bytes | None:
    try:
        return subprocess.run(
            ["git", *words], cwd=here, env=env, capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
