"""vaelab evaluate"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.parts import DEFAULT_PARTS, _chosen, _read, evaluate_run
from vaelab.loggers.wandb import Wandb
from vaelab.report.write import write_report_or_warn
from vaelab.reproduction import records
from vaelab.runs import metrics_file, provenance, weights
from vaelab.runs.build import build_from_config
from vaelab.runs.run import Run
from vaelab.runtime.distributed import rank_and_world_size, wait_for_all_processes
from vaelab.runtime.metric_names import METRICS
from vaelab.samplers.base import Sampler
from vaelab.samplers.prior import PriorSampler


def evaluate_folder(
    path: Path,
    parts: Iterable[str] = DEFAULT_PARTS,
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
    run, folder = Run.open(path, checkpoint), weights.results_folder(path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run.module.to(device)
    samples = int(run.cfg.samples if samples is None else samples)
    name = f"{split}-{checkpoint}-{samples}"
    name += f"-first{images}" if images is not None else ""
    sampler = sampler or PriorSampler()
    name += f"-{sampler.name}" if sampler.name != "prior" else ""
    where = folder / "evaluation" / name
    how = {"precision": _chosen(precision, device), "compile": compile, "folder": where}
    asked = EvaluationConfig(split, samples, images, run.cfg.seed, sampler, features, **how)
    known = _read(where).get("parts")
    numbers = evaluate_run(run, asked, parts) | provenance.collect_provenance(path)
    numbers["checkpoint"] = checkpoint
    if rank_and_world_size()[0] == 0:
        metrics_file.write_numbers(numbers, where / "numbers.json")
        (where / "numbers.md").write_text(metrics_file.markdown_page(numbers))
        shutil.rmtree(where / "journal", ignore_errors=True)
        if numbers["parts"] != known:
            _tell(run, where, numbers)
        metrics_file.print_numbers(numbers)
        if results_folder and split == "test":
            records.save_record(records.make_record(run, folder, numbers), results_folder)
        if weights.find_weights_file(path) is None:
            write_report_or_warn(folder)
        print(where)
    wait_for_all_processes()
    return numbers


def _tell(run: Run, folder: Path, numbers: dict[str, Any]) -> None:
    """A row for each logger of the run, written into the folder of the evaluation.

    The config, which may come from anybody, has no say in where.
    """
    cfg = run.cfg.copy()
    cfg.folder = str(folder)
    if "wandb" in cfg.logger:
        cfg.logger.wandb.name = f"{folder.parents[1].name} {folder.name}"
    row = {f"{numbers['split']}/{key}": numbers[key] for key in METRICS if key in numbers}
    for node in cfg.logger.values():
        places = {key: str(folder) for key in ("folder", "save_dir") if key in node}
        logger = build_from_config(node, **places)
        logger.log_metrics(row, run.step)
        logger.save()
        if isinstance(logger, Wandb):
            logger.close()
