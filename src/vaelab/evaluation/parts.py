"""Evaluate a run part by part. Finished parts and batches are kept on disk and not repeated."""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch

from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.likelihood import describe_measure
from vaelab.runs.metrics_file import EvaluationNumbers, read_evaluation_numbers, write_numbers
from vaelab.runs.run import RunParts
from vaelab.runs.weights import hash_weights
from vaelab.runtime.distributed import rank_and_world_size, wait_for_all_processes
from vaelab.runtime.precision import choose_precision, warn_if_bf16_is_slow
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
PARTS = (*DEFAULT_PARTS, "gaps")  # gaps takes minutes for a hundred images
MODULES = {"codes": "probes"}  # the modules of parts whose option has another name


def evaluate_run(
    run: RunParts, config: EvaluationConfig, parts: Iterable[str]
) -> EvaluationNumbers:
    """Evaluate the parts that are not finished yet.

    The numbers are also written to config.folder after each part. An evaluation with the same
    weights and settings resumes from there, any other starts anew.

    Returns:
        The numbers of all finished parts, with `parts`, the seconds that each part took, and
        `absent`, the reasons why parts are not applicable.
    """
    numbers: dict[str, Any] = {**_resume_or_start(run, config)}
    if config.compile:
        run.vae.decoder.compile()
    for part in parts:
        if part in numbers["parts"]:
            continue
        started = time.perf_counter()
        numbers["absent"].pop(part, None)
        module = import_module(f"vaelab.evaluation.{MODULES.get(part, part)}")
        try:
            with _autocast_networks(run.vae, config.precision):
                numbers |= module.evaluate(run, config)
            numbers["parts"][part] = time.perf_counter() - started
        except NotApplicable as reason:  # not recorded in `parts`, so the next evaluation retries
            numbers["absent"][part] = str(reason)
        if config.folder and rank_and_world_size()[0] == 0:
            write_numbers(numbers, config.folder / "numbers.json")
    return cast(EvaluationNumbers, numbers)


def resolve_precision(precision: str, device: str) -> str:
    """Return the precision for a device: `auto` is bf16-mixed where bfloat16 is fast, else 32-true.

    Warns if bf16-mixed was requested on a device where it is slow.
    """
    on_cpu = device == "cpu"
    if precision == "auto":
        return choose_precision(on_cpu)
    if precision == "bf16-mixed":
        warn_if_bf16_is_slow("--precision bf16-mixed", on_cpu)
    return precision


def read_finished_parts(folder: Path | None) -> EvaluationNumbers:
    """Read the numbers.json of an earlier evaluation; empty if it is missing or damaged."""
    if folder is None:
        return {}
    try:
        numbers = read_evaluation_numbers(folder / "numbers.json")
    except (OSError, ValueError):
        return {}
    return numbers if {"parts", "absent"} <= numbers.keys() else {}


@contextmanager
def _autocast_networks(vae: VAE, precision: str) -> Iterator[None]:
    """Inside, encoder and decoder compute in bfloat16 if the precision is bf16-mixed."""
    device, low = next(vae.parameters()).device.type, precision == "bf16-mixed"
    with torch.autocast(device, torch.bfloat16, enabled=low), vae.autocast_networks_only(device):
        yield


def _resume_or_start(run: RunParts, config: EvaluationConfig) -> EvaluationNumbers:
    """Return the numbers so far of the same weights and settings, or remove those of others."""
    settings = {
        "samples": config.samples,
        "seed": config.seed,
        "sampler": config.sampler.name,
        "features": config.features,
        "precision": config.precision,
        "compile": config.compile,
        "weights_sha256": hash_weights(run.vae.state_dict()),
    }
    numbers: dict[str, Any] = {**read_finished_parts(config.folder)}
    wait_for_all_processes()
    if numbers.get("asked") != settings:
        numbers = {"asked": settings, "parts": {}, "absent": {}}
        if config.folder and rank_and_world_size()[0] == 0:
            shutil.rmtree(config.folder, ignore_errors=True)
            config.folder.mkdir(parents=True)
            write_numbers(numbers, config.folder / "numbers.json")
    wait_for_all_processes()
    numbers |= {
        "split": config.split,
        "images": len(run.data.batches(config.split, config.images).split.images),
        "all_images": len(run.data.splits[config.split].images),
        "measure": describe_measure(run.vae, run.data),
        "pixels": run.data.pixels,
        "shape": run.data.shape,
        "step": run.step,
    }
    return cast(EvaluationNumbers, numbers)
