"""What the notes do with trained models of digits: pictures, and numbers of pictures."""

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

from vaelab.figures.draw.style import WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import plot_tiles, tile_aspect
from vaelab.inference.batches import mode_or_mean
from vaelab.objectives.base import sample_prior
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAPLACIAN = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


def some_of_each(run: Run, each: int = 1, split: str = "test") -> Tensor:
    """The first images of each class, (classes * each, 1, H, W), as the model sees them."""
    images, labels = run.data.splits[split]
    first = [(labels == label).nonzero()[:each, 0] for label in labels.unique()]
    return run.data.prepare(images[torch.cat(first)])


def all_images(run: Run, split: str = "test") -> Tensor:
    return run.data.prepare(run.data.splits[split].images)


@torch.no_grad()
def reconstructed(run: Run, x: Tensor) -> Tensor:
    """The mean of p(x|z) at the likeliest z of each image."""
    return run.vae.decode(mode_or_mean(run.vae.encode(x))).mean


@torch.no_grad()
def sampled(run: Run, count: int) -> Tensor:
    """The means of p(x|z) at draws of p(z)."""
    with seeded_noise(Stream.SAMPLES):
        return run.vae.decode(sample_prior(run.vae.latents(), count)).mean


def sharpness(x: Tensor) -> float:
    """The variance of the discrete Laplacian over the pixels of images (N, 1, H, W), their mean.

    Blur takes it away; a picture of noise has more of it than any digit.
    """
    edges = conv2d(x, LAPLACIAN.to(x)[None, None])
    return edges.flatten(1).var(1).mean().item()


def numbers(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def curve(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps and the values of metrics.csv at which something of this name was logged."""
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get(name)]
    steps, values = ([float(row[key]) for row in rows] for key in ("step", name))
    return np.array(steps), np.array(values)


@plot_style()
def strips(rows: Mapping[str, Tensor]) -> Figure:
    """Images (C, 1, H, W) in a row each, or in several rows of as many as the first one has."""
    columns = len(next(iter(rows.values())))
    images = torch.cat([each.unflatten(0, (-1, columns)) for each in rows.values()])
    names = [
        name if i == 0 else "" for name, each in rows.items() for i in range(len(each) // columns)
    ]
    drawn = new_figure(WIDTH, 0.83 * WIDTH * tile_aspect(images) + 0.1)
    axes = drawn.add_subplot(anchor="E")
    plot_tiles(axes, images, names, [""] * columns)
    return drawn


def beside(runs: dict[str, Run]) -> Figure:
    """Test digits with the reconstructions by each run, and what each decodes draws of p(z) to."""
    x = some_of_each(next(iter(runs.values())), 2)
    again = {name: reconstructed(run, x) for name, run in runs.items()}
    new = {f"{name}, new": sampled(run, 2 * len(x)) for name, run in runs.items()}
    return strips({"test digits": x} | again | new)
