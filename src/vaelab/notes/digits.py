"""Functions that several notes share: images of a run, their sharpness, metrics and figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from vaelab.distributions.point_estimates import mode_or_mean
from vaelab.figures.draw.style import WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import compute_tile_aspect, plot_tiles
from vaelab.objectives.base import sample_prior
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAPLACIAN = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


def first_images_of_each_class(run: RunParts, count: int = 1, split: str = "test") -> Tensor:
    """Return the first `count` images of each class, (classes * count, 1, H, W), preprocessed."""
    images, labels = run.data.splits[split]
    indices = [(labels == label).nonzero()[:count, 0] for label in labels.unique()]
    return run.data.prepare(images[torch.cat(indices)])


def prepare_images(run: RunParts, split: str = "test") -> Tensor:
    """Return all images of a split, (N, 1, H, W), preprocessed as in evaluation."""
    return run.data.prepare(run.data.splits[split].images)


@torch.no_grad()
def reconstruct(run: RunParts, x: Tensor) -> Tensor:
    """Decode the mode of q(z|x), or its mean, to the mean of p(x|z), for images (N, 1, H, W)."""
    return run.vae.decode(mode_or_mean(run.vae.encode(x))).mean


@torch.no_grad()
def decode_prior_samples(run: RunParts, count: int) -> Tensor:
    """Return the means of p(x|z) at `count` samples of p(z), (count, 1, H, W)."""
    with seeded_noise(Stream.SAMPLES):
        return run.vae.decode(sample_prior(run.vae.latents(), count)).mean


def compute_sharpness(x: Tensor) -> float:
    """Compute the variance of the discrete Laplacian over the pixels, averaged over the images.

    Blur lowers it; an image of noise has a larger one than any digit.

    Arguments:
        x: Images (N, 1, H, W).
    """
    edges = conv2d(x, LAPLACIAN.to(x)[None, None])
    return edges.flatten(1).var(1).mean().item()


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read metrics.json of a run folder."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def read_curve(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the steps and values at which a metric was logged to metrics.csv of a run folder."""
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get(name)]
    steps, values = ([float(row[key]) for row in rows] for key in ("step", name))
    return np.array(steps), np.array(values)


@plot_style()
def draw_image_rows(images: Mapping[str, Tensor]) -> Figure:
    """Draw each batch of images (N, 1, H, W) as one or more labelled rows.

    All rows are as long as the first batch; the length of every batch is a multiple of it.
    """
    columns = len(next(iter(images.values())))
    rows = torch.cat([batch.unflatten(0, (-1, columns)) for batch in images.values()])
    names = [
        name if row == 0 else ""
        for name, batch in images.items()
        for row in range(len(batch) // columns)
    ]
    figure = new_figure(WIDTH, 0.83 * WIDTH * compute_tile_aspect(rows) + 0.1)
    axes = figure.add_subplot(anchor="E")
    plot_tiles(axes, rows, names, [""] * columns)
    return figure


def draw_model_comparison(runs: dict[str, RunParts]) -> Figure:
    """Draw test digits, their reconstructions by each run, and new images of each run."""
    x = first_images_of_each_class(next(iter(runs.values())), 2)
    reconstructions = {name: reconstruct(run, x) for name, run in runs.items()}
    new = {f"{name}, new": decode_prior_samples(run, 2 * len(x)) for name, run in runs.items()}
    return draw_image_rows({"test digits": x} | reconstructions | new)
