"""Log the summary of a finished run to loggers that take more than numbers."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.figures.compute.base import (
    FigureNotApplicable,
    check_displayable,
    to_data_units,
    to_display_images,
)
from vaelab.figures.compute.columns import choose_variables, format_column
from vaelab.figures.draw.columns import ReconstructedColumn
from vaelab.inference.encoding import EncodedBatch, encode_batches
from vaelab.inference.image_grid import make_image_grid
from vaelab.loggers.base import MediaLogger, open_png
from vaelab.runs.run import RunParts
from vaelab.runtime.metric_names import name_data

MAX_TABLE_ROWS = 32
MAX_TABLE_COLUMNS = 8  # variables of a table of data
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

    Rows of a table have the values of some columns instead of an image.

    The noise is that of an evaluation with the same seed, so these are terms over which the
    evaluation takes its means.
    """
    batch = next(encode_batches(run.vae, run.data, "test", run.cfg.seed))
    count = min(MAX_TABLE_ROWS, len(batch.index))
    columns: list[ReconstructedColumn] = []
    if len(run.data.shape) == 1:
        columns = [
            format_column(
                to_data_units(batch.x[:count], run.data),
                to_data_units(batch.decoded[:count], run.data),
                variable,
            )
            for variable in choose_variables(run.data, MAX_TABLE_COLUMNS)
        ]
    return [_build_row(batch, number, run.data, columns) for number in range(count)]


def _build_row(
    batch: EncodedBatch, number: int, data: DataModule, columns: Sequence[ReconstructedColumn]
) -> dict[str, Any]:
    """Build the row of x number `number`: a picture of it, or its columns if it is of a table."""
    row: dict[str, Any] = {"index": batch.index[number].item()}
    if batch.label.ndim == 1 or batch.label.shape[1]:
        row["label"] = _format_label(batch.label[number], getattr(data, "attributes", ()))
    for column in columns:
        row[f"x: {column.name}"] = column.values[number]
        row[f"decoded: {column.name}"] = column.reconstructions[number]
    with suppress(FigureNotApplicable):
        check_displayable(data)
        pair = {name_data("image", data.shape): batch.x, "decoded": batch.decoded}
        for name, x in pair.items():
            row[name] = make_image_grid(to_display_images(x[number : number + 1], data), 1)
    return row | {name: term[number].item() for name, term in batch.terms.items()}


def _format_label(label: Tensor, names: Sequence[str]) -> int | float | str:
    """Return a class, or the names of the attributes that are true."""
    if label.ndim == 0:
        return label.item()
    if len(names) == len(label):
        return ", ".join(name for name, value in zip(names, label, strict=True) if value)
    return str(label.tolist())
