"""What a finished run shows in the loggers that take more than numbers."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.inference.encoding import EncodedBatch, encode_batches
from vaelab.inference.image_grid import image_grid
from vaelab.loggers.base import MediaLogger, open_png
from vaelab.runs.run import Run

SHOWN = 32  # test images in the table, at most
KL, LAYERS, IMAGES = "test/kl_per_dimension", "test/kl_per_layer", "test/images"


def log_run_summary(
    run: Run, numbers: dict[str, Any], folder: Path, loggers: Sequence[Logger], step: int
) -> None:
    """Every figure of the run folder, the KL of each latent, some test images, and the model."""
    media = [logger for logger in loggers if isinstance(logger, MediaLogger)]
    if not media:
        return
    figures = {path.stem: open_png(path) for path in sorted((folder / "figures").glob("*.png"))}
    layers = [name for name in numbers if name.startswith("kl_layer_")]
    kl = {KL: numbers.get("kl_per_dimension", []), LAYERS: [numbers[name] for name in layers]}
    rows = test_image_rows(run)
    for logger in media:
        for name, picture in figures.items():
            logger.add_image(f"figures/{name}", picture, step)
        for name, values in kl.items():
            if values and all(map(math.isfinite, values)):
                logger.add_histogram(name, values, step)
        logger.add_table(IMAGES, rows, step)
        logger.add_model(folder, numbers)


def test_image_rows(run: Run) -> list[dict[str, Any]]:
    """The first test images, what the model makes of them, and their terms in nats.

    The noise is that of `evaluate`: these are the first of the terms whose means are its numbers.
    """
    batch = next(encode_batches(run.vae, run.data, "test", run.cfg.seed))
    return [_row(batch, i, run.data) for i in range(min(SHOWN, len(batch.index)))]


def _row(batch: EncodedBatch, i: int, data: DataModule) -> dict[str, Any]:
    row: dict[str, Any] = {"index": batch.index[i].item()}
    if batch.label.ndim == 1 or batch.label.shape[1]:
        row["label"] = _said(batch.label[i], getattr(data, "attributes", ()))
    if len(data.shape) == 3 and data.shape[0] in (1, 3):
        row["image"] = image_grid(batch.x[i : i + 1], 1)
        row["decoded"] = image_grid(batch.decoded[i : i + 1], 1)
    return row | {name: term[i].item() for name, term in batch.terms.items()}


def _said(label: Tensor, names: Sequence[str]) -> int | float | str:
    """A class, or the attributes that are true."""
    if label.ndim == 0:
        return label.item()
    if len(names) == len(label):
        return ", ".join(name for name, value in zip(names, label, strict=True) if value)
    return str(label.tolist())
