"""vaelab evaluate"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from vaelab.evaluation.base import Asked
from vaelab.evaluation.parts import DEFAULT, _chosen, _read, evaluate_run
from vaelab.loggers.wandb import Wandb
from vaelab.report.write import write_or_say_why
from vaelab.reproduction import records
from vaelab.runs import metrics_file, provenance, weights
from vaelab.runs.build import build
from vaelab.runs.run import Run
from vaelab.runtime.distributed import share, wait_for_all
from vaelab.runtime.metric_names import TITLES
from vaelab.samplers.base import Sampler
from vaelab.samplers.prior import Prior


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
    numbers = evaluate_run(run, asked, parts) | provenance.provenance(path)
    numbers["checkpoint"] = checkpoint
    if share()[0] == 0:
        metrics_file.write(numbers, where / "numbers.json")
        (where / "numbers.md").write_text(metrics_file.markdown(numbers))
        shutil.rmtree(where / "journal", ignore_errors=True)
        if numbers["parts"] != known:
            _tell(run, where, numbers)
        metrics_file.show(numbers)
        if results_folder and split == "test":
            records.keep(records.entry(run, folder, numbers), results_folder)
        if weights.found(path) is None:
            write_or_say_why(folder)
        print(where)
    wait_for_all()
    return numbers


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
