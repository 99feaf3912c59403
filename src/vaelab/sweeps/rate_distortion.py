"""Rate and distortion of several evaluated runs: rate_distortion.csv and rate_distortion.png."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.figures.draw.rate_distortion import RateDistortionPoint, plot_rate_distortion
from vaelab.figures.draw.style import save_figure
from vaelab.runs.jobs import comparison_group, differing_overrides, read_overrides

COLUMNS: tuple[str, ...] = (
    "run",
    "choices",
    "group",
    "rate",
    "distortion",
    "elbo",
    "nll",
    "active_units",
)


def write_rate_distortion(evaluated: Mapping[Path, dict[str, Any]], folder: Path) -> list[Path]:
    """Write the rate (KL) and distortion (reconstruction) of each run, in nats per image.

    Arguments:
        evaluated: The numbers of an evaluation by the folder of the run. Runs without a KL are
            left out.

    Returns:
        The paths of the written files.
    """
    rows = [_row(run, numbers) for run, numbers in evaluated.items() if "kl" in numbers]
    if not rows:
        return []
    typed = differing_overrides(
        [read_overrides(run) for run, numbers in evaluated.items() if "kl" in numbers]
    )
    for row, words in zip(rows, typed, strict=True):
        row["choices"] = words
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rate_distortion.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    points = {
        name: [
            RateDistortionPoint(row["choices"] or row["run"], row["rate"], row["distortion"])
            for row in rows
            if row["group"] == name
        ]
        for name in dict.fromkeys(row["group"] for row in rows)
    }
    return [path, save_figure(plot_rate_distortion(points), path.with_suffix(".png"))]


def _row(run: Path, numbers: dict[str, Any]) -> dict[str, Any]:
    found = {name: numbers[name] for name in COLUMNS if name in numbers}
    return found | {
        "run": run.name,
        "group": comparison_group(numbers),
        "rate": numbers["kl"],
        "distortion": numbers["reconstruction"],
    }
