"""An evaluation of a run part by part, kept on disk: what is there is not computed again."""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.likelihood import describe_measure
from vaelab.runs import metrics_file, untrusted
from vaelab.runs.run import Run
from vaelab.runs.weights import hash_weights
from vaelab.runtime.distributed import rank_and_world_size, wait_for_all_processes
from vaelab.runtime.precision import is_bf16_fast, warn_if_bf16_is_slow
from vaelab.vae import VAE

DEFAULT_PARTS = (
    "likelihood",
    "generalisation",
    "latents",
    "reconstructions",
    "samples",
    "neighbours",
    "codes",
    "disentanglement",
)
PARTS = (*DEFAULT_PARTS, "gaps")  # which takes minutes for a hundred images


def evaluate_run(run: Run, asked: EvaluationConfig, parts: Iterable[str]) -> dict[str, Any]:
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
        except NotApplicable as reason:  # which is asked again the next time
            numbers["absent"][part] = str(reason)
        if asked.folder and rank_and_world_size()[0] == 0:
            metrics_file.write_numbers(numbers, asked.folder / "numbers.json")
    return numbers


def _chosen(precision: str, device: str) -> str:
    on_cpu = device == "cpu"
    if precision == "auto":
        return "bf16-mixed" if is_bf16_fast(on_cpu) else "32-true"
    if precision == "bf16-mixed":
        warn_if_bf16_is_slow("--precision bf16-mixed", on_cpu)
    return precision


@contextmanager
def _precision(vae: VAE, name: str) -> Iterator[None]:
    device, low = next(vae.parameters()).device.type, name == "bf16-mixed"
    with torch.autocast(device, torch.bfloat16, enabled=low), vae.autocast_networks_only(device):
        yield


def _begun(run: Run, asked: EvaluationConfig) -> dict[str, Any]:
    """What an evaluation of the same weights with the same settings has found so far."""
    settings = {
        "samples": asked.samples,
        "seed": asked.seed,
        "sampler": asked.sampler.name,
        "features": asked.features,
        "precision": asked.precision,
        "compile": asked.compile,
        "batch_size": run.data.batch_size,
        "weights_sha256": hash_weights(run.vae.state_dict()),
    }
    numbers = _read(asked.folder)
    wait_for_all_processes()
    if numbers.get("asked") != settings:
        numbers = {"asked": settings, "parts": {}, "absent": {}}
        if asked.folder and rank_and_world_size()[0] == 0:
            shutil.rmtree(asked.folder, ignore_errors=True)
            asked.folder.mkdir(parents=True)
            metrics_file.write_numbers(numbers, asked.folder / "numbers.json")
    wait_for_all_processes()
    return numbers | {
        "split": asked.split,
        "images": len(run.data.batches(asked.split, asked.images).split.images),
        "all_images": len(run.data.splits[asked.split].images),
        "measure": describe_measure(run.vae, run.data),
        "pixels": run.data.pixels,
        "shape": run.data.shape,
        "step": run.step,
    }


def _read(folder: Path | None) -> dict[str, Any]:
    try:
        found = untrusted.read_numbers(folder / "numbers.json") if folder else {}
    except (OSError, ValueError):
        return {}
    return found if {"parts", "absent"} <= found.keys() else {}
