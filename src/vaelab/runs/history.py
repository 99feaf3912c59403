"""The course of a training, read from its files and written to them.

metrics.csv is the logger's. The KL of each latent dimension has a file of its own, a row for each
epoch: epoch, step, and a column for each dimension.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaelab.runs import untrusted
from vaelab.runtime.files import atomic_write

KL_FILE = "figures/kl_per_dimension.csv"  # in a run folder
BEFORE = ("epoch", "step")  # the columns


class MetricCurve(NamedTuple):
    """Values (N,) at optimizer steps (N,)."""

    steps: np.ndarray
    values: np.ndarray


class KLHistory(NamedTuple):
    """KL in nats (E, D) at epochs (E,), and the names of its columns."""

    epochs: np.ndarray
    kl: np.ndarray
    names: list[str]


def read_metric_curves(path: Path) -> dict[str, MetricCurve]:
    """The columns of a metrics.csv as curves over the optimizer step; what is empty is left out."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in untrusted.read_csv_rows(path):
        step = row.pop("step", math.nan)
        for name, value in row.items():
            if math.isfinite(step):
                found.setdefault(name, []).append((step, value))
    return {name: MetricCurve(*np.array(sorted(pairs)).T) for name, pairs in found.items()}


def steps_per_epoch(curves: Mapping[str, MetricCurve]) -> float | None:
    """Optimizer steps, from the last validation, which ends an epoch; None where there is none."""
    ended = [curve.steps[-1] for name, curve in curves.items() if name.startswith("val/")]
    if not ended or "epoch" not in curves:
        return None
    last = max(ended)
    epochs = curves["epoch"].values[curves["epoch"].steps == last]
    return (last + 1) / (epochs[-1] + 1) if len(epochs) and epochs[-1] >= 0 else None


def read_kl_history(path: Path) -> KLHistory:
    rows = untrusted.read_csv_rows(path)
    names = [name for name in (rows[0] if rows else {}) if name not in BEFORE]
    if any(not {*names, *BEFORE} <= row.keys() for row in rows):
        raise ValueError(f"{path} is damaged: not all of its rows have the same columns")
    kl = np.array([[row[name] for name in names] for row in rows])
    return KLHistory(np.array([row["epoch"] for row in rows]), kl, names)


def add_kl_row(path: Path, epoch: int, step: int, kl: Mapping[str, float]) -> None:
    """Write the row of an epoch; its older one and those of later epochs make way.

    So it is right also where a run goes on from an earlier checkpoint.
    """
    header = [*BEFORE, *kl]
    kept = [row for row in _rows(path) if int(row["epoch"]) < epoch and list(row) == header]
    row = {"epoch": epoch, "step": step} | {name: f"{nats:.6g}" for name, nats in kl.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv_rows(path, header, [*kept, row])


def truncate_metrics(path: Path, step: int) -> list[str]:
    """Leave out of a metrics.csv what was logged at `step` or later; the names of its columns."""
    rows = [row for row in _rows(path) if (row.get("step") or "x").isdigit()]
    kept = [row for row in rows if int(row["step"]) < step]
    if not kept:
        path.unlink(missing_ok=True)
        return []
    write_csv_rows(path, list(kept[0]), kept)
    return list(kept[0])


def write_csv_rows(path: Path, header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a csv whose columns are those of the header."""
    with atomic_write(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
