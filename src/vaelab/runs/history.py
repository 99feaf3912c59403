"""The history of a training in csv files.

metrics.csv belongs to the csv logger. The KL of each latent dimension has its own file with a row
for each epoch: epoch, step, and a column for each dimension.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaelab.runs import untrusted
from vaelab.runtime.errors import UserError
from vaelab.runtime.files import atomic_write

KL_FILE = "figures/kl_per_dimension.csv"  # in a run folder
INDEX_COLUMNS = ("epoch", "step")  # in front of the dimensions


class MetricCurve(NamedTuple):
    """Values (N,) at optimizer steps (N,)."""

    steps: np.ndarray
    values: np.ndarray


class KLHistory(NamedTuple):
    """The KL in nats (E, D) of D dimensions at epochs (E,), and the names of the dimensions."""

    epochs: np.ndarray
    kl: np.ndarray
    names: list[str]


def read_metric_curves(path: Path) -> dict[str, MetricCurve]:
    """Read the columns of a metrics.csv as curves over the optimizer step, without empty cells."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in untrusted.read_csv_rows(path):
        step = row.pop("step", math.nan)
        for name, value in row.items():
            if math.isfinite(step):
                found.setdefault(name, []).append((step, value))
    return {name: MetricCurve(*np.array(sorted(pairs)).T) for name, pairs in found.items()}


def steps_per_epoch(curves: Mapping[str, MetricCurve]) -> float | None:
    """Return the optimizer steps of an epoch, or None without a validation at an epoch's end."""
    ended = [curve.steps[-1] for name, curve in curves.items() if name.startswith("val/")]
    if not ended or "epoch" not in curves:
        return None
    last = max(ended)
    epochs = curves["epoch"].values[curves["epoch"].steps == last]
    return (last + 1) / (epochs[-1] + 1) if len(epochs) and epochs[-1] >= 0 else None


def read_kl_history(path: Path) -> KLHistory:
    """Read the KL of each latent dimension.

    Raises:
        UserError: If rows of the file have different columns.
    """
    rows = untrusted.read_csv_rows(path)
    names = [name for name in (rows[0] if rows else {}) if name not in INDEX_COLUMNS]
    if any(not {*names, *INDEX_COLUMNS} <= row.keys() for row in rows):
        raise UserError(f"{path} is damaged: its rows have different columns")
    kl = np.array([[row[name] for name in names] for row in rows])
    return KLHistory(np.array([row["epoch"] for row in rows]), kl, names)


def add_kl_row(path: Path, epoch: int, step: int, kl: Mapping[str, float]) -> None:
    """Write the row of an epoch, and remove the rows of this and of later epochs.

    A run that resumes from an earlier checkpoint writes them again.
    """
    header = [*INDEX_COLUMNS, *kl]
    kept = [row for row in _rows(path) if int(row["epoch"]) < epoch and list(row) == header]
    row = {"epoch": epoch, "step": step} | {name: f"{nats:.6g}" for name, nats in kl.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv_rows(path, header, [*kept, row])


def truncate_metrics(path: Path, step: int) -> list[str]:
    """Remove the rows of a metrics.csv from `step` on; return the names of its columns."""
    rows = [row for row in _rows(path) if (row.get("step") or "x").isdigit()]
    kept = [row for row in rows if int(row["step"]) < step]
    if not kept:
        path.unlink(missing_ok=True)
        return []
    write_csv_rows(path, list(kept[0]), kept)
    return list(kept[0])


def write_csv_rows(path: Path, header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a csv file atomically, with the columns of the header."""
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
