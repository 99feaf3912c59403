"""Log the summary of a finished run to loggers that take more than numbers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.inference.encoding import EncodedBatch, encode_batches
from vaelab.inference.image_grid import make_image_grid
from vaelab.loggers.base import MediaLogger, open_png
from vaelab.runs.run import RunParts

MAX_TABLE_ROWS = 32
KL_KEY, LAYER_KL_KEY = "test/kl_per_dimension", "test/kl_per_layer"
IMAGES_KEY = "test/images"


def log_run_summary(
    run: RunParts, numbers: Mapping[str, Any], folder: Path, loggers: Sequence[Logger], step: int
) -> None:
    """Log the figures of a run folder, the KL of each latent, test images and the model.

    Arguments:
        numbers: The metrics.json of the run.
        step: The optimizer steps taken.
    """
    media_loggers = [logger for logger in loggers if isinstance(logger, MediaLogger)]
    if not media_loggers:
        return
    figures = {path.stem: open_png(path) for path in sorted((folder / "figures").glob("*.png"))}
    layers = [name for name in numbers if name.startswith("kl_layer_")]
    kl = {
        KL_KEY: numbers.get("kl_per_dimension", []),
        LAYER_KL_KEY: [numbers[name] for name in layers],
    }
    rows = build_image_rows(run)
    for logger in media_loggers:
        for name, figure in figures.items():
            logger.add_image(f"figures/{name}", figure, step)
        for name, values in kl.items():
            if values and all(map(math.isfinite, values)):
                logger.add_histogram(name, values, step)
        logger.add_table(IMAGES_KEY, rows, step)
        logger.add_model(folder, numbers)


def build_image_rows(run: RunParts) -> list[dict[str, Any]]:
    """Build table rows of the first test images, their reconstructions and ELBO terms in nats.

    The noise is that of an evaluation with the same seed, so these are terms over which the
    evaluation takes its means.
    """
    batch = next(encode_batches(run.vae, run.data, "test", run.cfg.seed))
    count = min(MAX_TABLE_ROWS, len(batch.index))
    return [_build_row(batch, number, run.data) for number in range(count)]


def _build_row(batch: EncodedBatch, number: int, data: DataModule) -> dict[str, Any]:
    row: dict[str, Any] = {"index": batch.index[number].item()}
    if batch.label.ndim == 1 or batch.label.shape[1]:
        row["label"] = _format_label(batch.label[number], getattr(data, "attributes", ()))
    if len(data.shape) == 3 and data.shape[0] in (1, 3):
        row["image"] = make_image_grid(batch.x[number : number + 1], 1)
        row["decoded"] = make_image_grid(batch.decoded[number : number + 1], 1)
    return row | {name: term[number].item() for name, term in batch.terms.items()}


def _format_label(label: Tensor, names: Sequence[str]) -> int | float | str:
    """Return a class, or the names of the attributes that are true."""
    if label.ndim == 0:
        return label.item()
    if len(names) == len(label):
        return ", ".join(name for name, value in zip(names, label, strict=True) if value)
    return str(label.tolist())
