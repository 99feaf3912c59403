"""Note 9: map the digits in two latent dimensions, and interpolate between digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vaelab.figures.draw.style import ORANGE, PALETTE, WIDTH, hide_frame, new_figure, plot_style
from vaelab.figures.draw.tiles import compute_tile_aspect, plot_tiles
from vaelab.inference.batches import collect_latents
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import first_images_of_each_class, prepare_images, read_metrics
from vaelab.runs.run import RunParts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID_SIZE = 18  # decoded digits along an edge of the map
PAIRS = ((0, 6), (3, 9), (4, 7))  # the classes between which the figure interpolates
WALK_STEPS = 11
NEIGHBOURS = 10


def make_note(config: NoteConfig) -> NoteResult:
    """Train VAEs with 2 and 20 latents and compare how well their latents separate classes."""
    epochs = f"trainer.max_epochs={config.select(60, 1)}"
    plane = config.train_and_open("plane", "latent_dim=2", "model.hidden=[400,400]", epochs)
    rows = [_make_row(2, plane, read_metrics(config.runs / "plane"))]
    wide = config.train_and_open("wide", "latent_dim=20", "model.hidden=[400,400]", epochs)
    rows.append(_make_row(20, wide, read_metrics(config.runs / "wide")))
    pixels, labels = prepare_images(plane, "train"), plane.data.splits["train"].labels
    numbers = {
        "neighbours of the same class, in pixel space": same_class_fraction(
            pixels.flatten(1), labels
        )
    }
    return NoteResult({"map": draw_map(plane), "walks": draw_walks(wide)}, rows, numbers)


def _make_row(latent_dim: int, run: RunParts, metrics: dict[str, Any]) -> dict[str, Any]:
    z, y = collect_latents(run.vae, run.data, "train")["mean"], run.data.splits["train"].labels
    return {
        "latents": latent_dim,
        "NLL (nats)": metrics["nll"],
        "KL (nats)": metrics["kl"],
        "RMSE of a pixel": metrics["rmse"],
        "neighbours of the same class": same_class_fraction(z, y),
    }


def same_class_fraction(points: Tensor, labels: Tensor) -> float:
    """Compute the mean fraction of the ten nearest neighbours that share a point's label.

    Arguments:
        points: Points (N, D).
        labels: Class of each point, (N,).
    """
    nearest = torch.cdist(points, points).topk(NEIGHBOURS + 1, largest=False).indices[:, 1:]
    return (labels[nearest] == labels[:, None]).double().mean().item()


@plot_style()
@torch.no_grad()
def draw_map(run: RunParts) -> Figure:
    """Draw the means of q(z|x) of test digits by class, and digits decoded on a grid.

    The grid consists of quantiles of N(0, I), so that each cell has the same prior probability.
    """
    latents = collect_latents(run.vae, run.data, "test")
    figure = new_figure(WIDTH, 3.6)
    left, right = figure.subplots(1, 2)
    for label in range(10):
        means = latents["mean"][latents["labels"] == label]
        left.scatter(*means.T, 8, PALETTE[label], linewidths=0, label=str(label))
    left.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.08), handletextpad=0)
    left.set(title="means of q(z|x), 500 test digits", aspect="equal")
    axis = torch.special.ndtri((torch.arange(GRID_SIZE) + 0.5) / GRID_SIZE)
    plane = torch.cartesian_prod(-axis, axis).flip(1).unflatten(0, (GRID_SIZE, GRID_SIZE))
    images = run.vae.decode(plane).mean
    plot_tiles(right, images, [""] * GRID_SIZE, [""] * GRID_SIZE, gap=0)
    right.set_title("decoded at quantiles of N(0, I)")
    hide_frame(right)
    return figure


@plot_style()
@torch.no_grad()
def draw_walks(run: RunParts) -> Figure:
    """Draw interpolations between two test digits, in latent space and pixel by pixel."""
    x = first_images_of_each_class(run)
    z = run.vae.encode(x).mean
    weight = torch.linspace(0, 1, WALK_STEPS)[:, None]
    rows, names = [], []
    for start, end in PAIRS:
        path = (1 - weight) * z[start] + weight * z[end]
        decoded = run.vae.decode(path).mean
        faded = (1 - weight[..., None, None]) * decoded[0] + weight[..., None, None] * decoded[-1]
        for name, row in ((f"{start} to {end}, latents", decoded), ("pixels", faded)):
            rows.append(torch.cat([x[start : start + 1], row, x[end : end + 1]]))
            names.append(name)
    images = torch.stack(rows)
    figure = new_figure(0.85 * WIDTH, 0.72 * WIDTH * compute_tile_aspect(images) + 0.1)
    axes = figure.add_subplot(anchor="E")
    tiles = plot_tiles(axes, images, names, [""] * images.shape[1])
    for row in range(len(names)):
        for column in (0, images.shape[1] - 1):
            tiles.draw_frame(axes, row, column, ORANGE)
    return figure
