"""An evaluation of a run part by part, kept on disk: what is there is not computed again."""

import hashlib
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaelab import bf16, foreign, record, results, weights
from vaelab.evaluation.base import Absent, Asked
from vaelab.evaluation.likelihood import measure
from vaelab.loggers.wandb import Wandb
from vaelab.processes import share, wait_for_all
from vaelab.report.write import write_or_say_why
from vaelab.run import Run, build
from vaelab.samplers.base import Sampler
from vaelab.samplers.prior import Prior
from vaelab.titles import TITLES
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


def evaluate_folder(
    path: Path,
    parts: Iterable[str] = DEFAULT,
    split: str = "test",
    samples: int | None = None,
    images: int | None = None,
    checkpoint: str = "best",
    sampler: Sampler | None = None,
    features: str | None = None,
    results_folder: Path | None = None,
    precision: str = "32-true",
    compile: bool = False,
) -> dict[str, Any]:
    """Evaluate the run in a folder, show its numbers and write them down.

    Arguments:
        path: The folder, or a model.safetensors, or the folder that it lies in.
        samples: Of the importance-weighted bound; None is what the run ended with.
        results_folder: For the record of the test images; None keeps none.
        precision: That of `Asked`; or auto, which is bf16-mixed if the machine computes in it.

    The other arguments are those of `Asked`.
    """
    run, folder = Run.open(path, checkpoint), weights.folder(path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run.module.to(device)
    samples = int(run.cfg.samples if samples is None else samples)
    name = f"{split}-{checkpoint}-{samples}"
    name += f"-first{images}" if images is not None else ""
    sampler = sampler or Prior()
    name += f"-{sampler.name}" if sampler.name != "prior" else ""
    where = folder / "evaluation" / name
    how = {"precision": _chosen(precision, device), "compile": compile, "folder": where}
    asked = Asked(split, samples, images, run.cfg.seed, sampler, features, **how)
    known = _read(where).get("parts")
    numbers = evaluate_run(run, asked, parts) | record.provenance(path)
    numbers["checkpoint"] = checkpoint
    if share()[0] == 0:
        record.write(numbers, where / "numbers.json")
        (where / "numbers.md").write_text(record.markdown(numbers))
        shutil.rmtree(where / "journal", ignore_errors=True)
        if numbers["parts"] != known:
            _tell(run, where, numbers)
        record.show(numbers)
        if results_folder and split == "test":
            results.keep(results.entry(run, folder, numbers), results_folder)
        if weights.found(path) is None:
            write_or_say_why(folder)
        print(where)
    wait_for_all()
    return numbers


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
            record.write(numbers, asked.folder / "numbers.json")
    return numbers


def _chosen(precision: str, device: str) -> str:
    on_cpu = device == "cpu"
    if precision == "auto":
        return "bf16-mixed" if bf16.is_fast(on_cpu) else "32-true"
    if precision == "bf16-mixed":
        bf16.warn("--precision bf16-mixed", on_cpu)
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
            record.write(numbers, asked.folder / "numbers.json")
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
        found = foreign.numbers(folder / "numbers.json") if folder else {}
    except (OSError, ValueError):
        return {}
    return found if {"parts", "absent"} <= found.keys() else {}


def _tell(run: Run, folder: Path, numbers: dict[str, Any]) -> None:
    """A row for each logger of the run, written into the folder of the evaluation.

    The config, which may come from anybody, has no say in where.
    """
    cfg = run.cfg.copy()
    cfg.folder = str(folder)
    if "wandb" in cfg.logger:
        cfg.logger.wandb.name = f"{folder.parents[1].name} {folder.name}"
    row = {f"{numbers['split']}/{key}": numbers[key] for key in TITLES if key in numbers}
    for node in cfg.logger.values():
        places = {key: str(folder) for key in ("folder", "save_dir") if key in node}
        logger = build(node, **places)
        logger.log_metrics(row, run.step)
        logger.save()
        if isinstance(logger, Wandb):
            logger.close()


def fingerprint(state: dict[str, Tensor]) -> str:
    """SHA-256 of the weights of a VAE."""
    digest = hashlib.sha256()
    for name, weight in sorted(state.items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
