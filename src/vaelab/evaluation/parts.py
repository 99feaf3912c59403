"""An evaluation of a run part by part, kept on disk: what is there is not computed again."""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from vaelab.evaluation.base import Absent, Asked
from vaelab.evaluation.likelihood import measure
from vaelab.runs import metrics_file, untrusted
from vaelab.runs.run import Run
from vaelab.runs.weights import fingerprint
from vaelab.runtime.distributed import share, wait_for_all
from vaelab.vae import VAE

DEFAULT = (
    "likelihood",
    "generalisation",
    "latents",
    "reconstructions",
    "samples",
    "neighbours",
    "codes",
    "disentanglement",
)
PARTS = (*DEFAULT, "gaps")  # which takes minutes for a hundred images


def evaluate_run(run: Run, asked: Asked, parts: Iterable[str]) -> dict[str, Any]:
    """The numbers of the parts, also in asked.folder where they are gone on from.

    Beside them there are `parts`, the seconds of each, and `absent`, why a part has no meaning.
    """
    numbers = _begun(run, asked)
    if asked.compile:
        run.vae.decoder.compile()
    for part in parts:
        if part in numbers["parts"]:
            continue
        started = time.perf_counter()
        numbers["absent"].pop(part, None)
        try:
            with _precision(run.vae, asked.precision):
                numbers |= import_module(f"vaelab.evaluation.{part}").evaluate(run, asked)
            numbers["parts"][part] = time.perf_counter() - started
        except Absent as reason:  # which is asked again the next time
            numbers["absent"][part] = str(reason)
        if asked.folder and share()[0] == 0:
            metrics_file.write(numbers, asked.folder / "numbers.json")
    return numbers


def _chosen(precision: str, device: str) -> str:
    on_cpu = device == "cpu"
    if precision == "auto":
        return "bf16-mixed" if precision.is_fast(on_cpu) else "32-true"
    if precision == "bf16-mixed":
        precision.warn("--precision bf16-mixed", on_cpu)
    return precision


@contextmanager
def _precision(vae: VAE, name: str) -> Iterator[None]:
    device, low = next(vae.parameters()).device.type, name == "bf16-mixed"
    with torch.autocast(device, torch.bfloat16, enabled=low), vae.networks_only(device):
        yield


def _begun(run: Run, asked: Asked) -> dict[str, Any]:
    """What an evaluation of the same weights with the same settings has found so far."""
    settings = {
        "samples": asked.samples,
        "seed": asked.seed,
        "sampler": asked.sampler.name,
        "features": asked.features,
        "precision": asked.precision,
        "compile": asked.compile,
        "batch_size": run.data.batch_size,
        "weights_sha256": fingerprint(run.vae.state_dict()),
    }
    numbers = _read(asked.folder)
    wait_for_all()
    if numbers.get("asked") != settings:
        numbers = {"asked": settings, "parts": {}, "absent": {}}
        if asked.folder and share()[0] == 0:
            shutil.rmtree(asked.folder, ignore_errors=True)
            asked.folder.mkdir(parents=True)
            metrics_file.write(numbers, asked.folder / "numbers.json")
    wait_for_all()
    return numbers | {
        "split": asked.split,
        "images": len(run.data.batches(asked.split, asked.images).split.images),
        "all_images": len(run.data.splits[asked.split].images),
        "measure": measure(run.vae, run.data),
        "pixels": run.data.pixels,
        "shape": run.data.shape,
        "step": run.step,
    }


def _read(folder: Path | None) -> dict[str, Any]:
    try:
        found = untrusted.numbers(folder / "numbers.json") if folder else {}
    except (OSError, ValueError):
        return {}
    return found if {"parts", "absent"} <= found.keys() else {}
