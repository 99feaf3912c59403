"""The evaluation of a run folder: numbers, tables, records, loggers and report."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.duration import estimate_evaluation_seconds
from vaelab.evaluation.parts import (
    DEFAULT_PARTS,
    evaluate_run,
    read_finished_parts,
    resolve_precision,
)
from vaelab.loggers.base import RunTracker
from vaelab.report.write import write_report_or_warn
from vaelab.reproduction.records import make_record, save_record
from vaelab.runs import weights
from vaelab.runs.config_check import AUTO
from vaelab.runs.metrics_file import markdown_page, print_numbers, write_numbers
from vaelab.runs.provenance import collect_provenance
from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config
from vaelab.runtime.distributed import rank_and_world_size, wait_for_all_processes
from vaelab.runtime.durations import format_duration
from vaelab.runtime.metric_names import METRICS
from vaelab.samplers.base import Sampler
from vaelab.samplers.prior import PriorSampler

SAMPLES = 100


def evaluate_folder(
    path: Path, parts: Iterable[str] = DEFAULT_PARTS, checkpoint: str = "best", **settings: Any
) -> dict[str, Any]:
    """Evaluate the run in a folder, print its numbers and write them to <run>/evaluation.

    Arguments:
        path: The run folder, a model.safetensors, or the folder of a model.safetensors.
        settings: More arguments of `evaluate_opened_run`, as are the others.
    """
    run = RunParts.open(path, checkpoint)
    run.module.to("cuda" if torch.cuda.is_available() else "cpu")
    return evaluate_opened_run(run, path, parts, checkpoint, **settings)


def evaluate_opened_run(
    run: RunParts,
    path: Path,
    parts: Iterable[str] = DEFAULT_PARTS,
    checkpoint: str = "best",
    split: str = "test",
    samples: int | None = None,
    images: int | None = None,
    sampler: Sampler | None = None,
    features: str | None = None,
    record_folder: Path | None = None,
    precision: str = "32-true",
    compile: bool = False,
) -> dict[str, Any]:
    """Evaluate a run, print its numbers and write them to <run>/evaluation.

    Arguments:
        run: The run with its data, on the device that computes.
        path: Where it was opened.
        parts: The names of the parts of the evaluation.
        checkpoint: The checkpoint that was opened: best or last.
        samples: Importance samples of the bound on log p(x); None takes those of the run's config,
            or 100.
        record_folder: Where a record of an evaluation of the test images goes; None writes none.
        precision: As in `EvaluationConfig`, or auto: bf16-mixed if it is fast on this machine.

    The other arguments are those of `EvaluationConfig`.

    Returns:
        The numbers by name, in nats per image where they are log probabilities.
    """
    parts, folder = tuple(parts), weights.results_folder(path)
    samples = _read_samples(run.cfg) if samples is None else samples
    name = f"{split}-{checkpoint}-{samples}"
    name += f"-random{images}" if images is not None else ""
    sampler = sampler or PriorSampler()
    name += f"-{sampler.name}" if sampler.name != "prior" else ""
    output = folder / "evaluation" / name
    config = EvaluationConfig(
        split=split,
        samples=samples,
        images=images,
        sampler=sampler,
        features=features,
        precision=resolve_precision(precision, next(run.vae.parameters()).device.type),
        compile=compile,
        folder=output,
    )
    finished_parts = read_finished_parts(output).get("parts")
    missing = [part for part in parts if part not in (finished_parts or {})]
    if missing and rank_and_world_size()[0] == 0:
        seconds = estimate_evaluation_seconds(run, config, missing)
        print(f"{folder}: evaluating {name}, about {format_duration(seconds)}", flush=True)
    numbers: dict[str, Any] = evaluate_run(run, config, parts) | collect_provenance(path)
    numbers["checkpoint"] = checkpoint
    if rank_and_world_size()[0] == 0:
        write_numbers(numbers, output / "numbers.json")
        (output / "numbers.md").write_text(markdown_page(numbers), encoding="utf-8")
        shutil.rmtree(output / "journal", ignore_errors=True)
        if numbers["parts"] != finished_parts:
            _log_numbers(run, output, numbers)
        print_numbers(numbers)
        if record_folder and split == "test":
            save_record(make_record(run, folder, numbers), record_folder)
        if weights.find_weights_file(path) is None:
            write_report_or_warn(folder)
        print(output)
    wait_for_all_processes()
    return numbers


def _read_samples(cfg: DictConfig) -> int:
    """Return the samples that a run's config sets; configs of older runs have no `evaluate`."""
    samples = (cfg.get("evaluate") or cfg).samples
    return SAMPLES if samples == AUTO else int(samples)


def _log_numbers(run: RunParts, folder: Path, numbers: dict[str, Any]) -> None:
    """Log the numbers to each logger of the run's config, with its files in `folder`.

    W&B and MLflow append them to the run that the training has logged, under the name of `folder`.
    The config may be untrusted, so it does not choose where the loggers write.
    """
    cfg = run.cfg.copy()
    cfg.folder = str(folder)
    if "wandb" in cfg.logger:
        cfg.logger.wandb.name = None  # older runs refer to Hydra, which did not start this command
    metrics = {key: numbers[key] for key in METRICS if key in numbers}
    for node in cfg.logger.values():
        places = {key: str(folder) for key in ("folder", "save_dir") if key in node}
        logger: Any = build_from_config(node, **places)
        is_tracker = isinstance(logger, RunTracker)
        prefix = folder.name.replace("-", "_") if is_tracker else numbers["split"]
        if is_tracker:
            logger.join(folder.parents[1])
        logger.log_metrics({f"{prefix}/{key}": value for key, value in metrics.items()}, run.step)
        logger.save()
        if is_tracker:
            logger.close()
