"""provenance.json: command, code, versions, threads, machine and hashes of the data of a run.

It is written before the first step. Code that is not committed is written to uncommitted.diff.
"""

import hashlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module

from vaelab.data.base import Split
from vaelab.data.description import announce_data
from vaelab.runs.metrics_file import write_numbers
from vaelab.runs.paths import DATA_DESCRIPTION, PROVENANCE
from vaelab.runs.recorded import read_recorded_run
from vaelab.runs.run import RunParts
from vaelab.runs.untrusted import read_text
from vaelab.runtime.git import describe_commit, diff_uncommitted_code
from vaelab.runtime.own_project import project_flags

PARTS = ("encoder", "posterior", "prior", "decoder", "likelihood")
HASHED_ROWS = 10_000  # images that are copied to bytes at a time
PACKAGES = ("vaelab", "torch", "pytorch-lightning", "hydra-core", "torchmetrics", "numpy")


def count_sizes(run: RunParts) -> dict[str, Any]:
    """Return the number of parameters of each part and of the outputs of encoder and decoder.

    A model with several stochastic layers has no single number of encoder outputs.
    """
    vae = run.vae
    parts = {name: getattr(vae, name) for name in PARTS} | {"objective": run.module.objective}
    sizes: dict[str, Any] = {"decoder_outputs": [vae.likelihood.outputs, *vae.shape[1:]]}
    if not vae.layered:
        sizes["encoder_outputs"] = vae.posterior.inputs
    counts = {name: _count_parameters(part) for name, part in parts.items()}
    return sizes | {"parameters": _count_parameters(vae), "parameters_of": counts}


def _count_parameters(part: Module) -> int:
    return sum(weight.numel() for weight in part.parameters())


def collect_provenance(folder: Path) -> dict[str, Any]:
    """Return the options of the run in a folder, and the command, code and versions of now."""
    return {
        "choices": read_choices(folder),
        "command": f"{sys.argv[0]} {shlex.join(sys.argv[1:])}".rstrip() + project_flags(),
        "git": describe_commit(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
    }


def read_choices(folder: Path) -> dict[str, str]:
    """Return the chosen option of each config group of the run in a folder."""
    return read_recorded_run(folder).choices


def write_provenance(run: RunParts, folder: Path) -> None:
    """Write data.json, and provenance.json unless the run was started before and has it already."""
    write_numbers(announce_data(run.data).to_dict(), folder / DATA_DESCRIPTION)
    path = folder / PROVENANCE
    if path.exists():
        return
    if diff := diff_uncommitted_code():
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
            "data_sha256": {name: _hash_split(split) for name, split in run.data.splits.items()},
        },
        path,
    )


def read_provenance(folder: Path) -> dict[str, Any]:
    """Read provenance.json, or what metrics.json of an older run has of it."""
    if (path := folder / PROVENANCE).is_file():
        return json.loads(read_text(path))
    if (path := folder / "metrics.json").is_file():
        numbers = json.loads(read_text(path))
        return {key: numbers.get(key) for key in ("git", "versions")}
    return {}


def flatten(node: Mapping[str, Any] | list[Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested dicts and lists by dotted keys, as in versions.torch."""
    values: dict[str, Any] = {}
    pairs = node.items() if isinstance(node, Mapping) else enumerate(node)
    for key, value in pairs:
        if isinstance(value, (Mapping, list)):
            values |= flatten(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def describe_machine() -> dict[str, Any]:
    """Return the operating system and the kinds of CPU and GPUs."""
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": next(_iterate_cpu_names(), platform.processor()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


def _iterate_cpu_names() -> Iterator[str]:
    path = Path("/proc/cpuinfo")
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if line.startswith("model name"):
            yield line.partition(":")[2].strip()


def _hash_split(split: Split) -> str:
    """Return the SHA-256 of images and labels as they are stored."""
    digest = hashlib.sha256()
    for part in split:
        digest.update(str((part.dtype, *part.shape)).encode())
        for rows in part.split(HASHED_ROWS):
            digest.update(rows.numpy().tobytes())
    return digest.hexdigest()
