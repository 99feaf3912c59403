"""Note 9: the two-dimensional map of the digits, and walks along it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.figures.draw.style import ORANGE, PALETTE, WIDTH, hide_frame, new_figure, plot_style
from vaelab.figures.draw.tiles import plot_tiles, tile_aspect
from vaelab.inference.batches import collect_latents
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import all_images, numbers, some_of_each
from vaelab.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 18  # digits along an edge of the map
PAIRS = ((0, 6), (3, 9), (4, 7))  # the classes between which a walk goes
STEPS = 11
NEIGHBOURS = 10


def make_note(asked: NoteConfig) -> NoteResult:
    epochs = f"trainer.max_epochs={asked.few(60, 1)}"
    plane = asked.run("plane", "latent_dim=2", "model.hidden=[400,400]", epochs)
    rows = [_row(2, plane, asked)]
    wide = asked.run("wide", "latent_dim=20", "model.hidden=[400,400]", epochs)
    rows.append(_row(20, wide, asked))
    single = {
        "neighbours of the same class, among the pixels": of_the_same_class(
            all_images(plane, "train").flatten(1), plane.data.splits["train"].labels
        )
    }
    return NoteResult({"map": draw_map(plane), "walks": draw_walks(wide)}, rows, single)


def _row(latents: int, run: Run, asked: NoteConfig) -> dict:
    found = numbers(asked.runs / ("plane" if latents == 2 else "wide"))
    z, y = collect_latents(run.vae, run.data, "train")["mean"], run.data.splits["train"].labels
    return {
        "latents": latents,
        "NLL (nats)": found["nll"],
        "KL (nats)": found["kl"],
        "RMSE of a pixel": found["rmse"],
        "neighbours of the same class": of_the_same_class(z, y),
    }


def of_the_same_class(points: Tensor, labels: Tensor) -> float:
    """Of the ten nearest neighbours of a point (N, D), the share that has its label, the mean."""
    near = torch.cdist(points, points).topk(NEIGHBOURS + 1, largest=False).indices[:, 1:]
    return (labels[near] == labels[:, None]).double().mean().item()


@plot_style()
@torch.no_grad()
def draw_map(run: Run) -> Figure:
    """The means of test digits by class, and what is decoded at quantiles of N(0, I)."""
    found = collect_latents(run.vae, run.data, "test")
    drawn = new_figure(WIDTH, 3.6)
    left, right = drawn.subplots(1, 2)
    for label in range(10):
        some = found["mean"][found["labels"] == label]
        left.scatter(*some.T, 8, PALETTE[label], linewidths=0, label=str(label))
    left.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.08), handletextpad=0)
    left.set(title="means of q(z|x), 500 test digits", aspect="equal")
    axis = torch.special.ndtri((torch.arange(SIDE) + 0.5) / SIDE)
    plane = torch.cartesian_prod(-axis, axis).flip(1).unflatten(0, (SIDE, SIDE))
    plot_tiles(right, run.vae.decode(plane).mean, [""] * SIDE, [""] * SIDE, gap=0)
    right.set_title("decoded at equal shares of N(0, I)")
    hide_frame(right)
    return drawn


@plot_style()
@torch.no_grad()
def draw_walks(run: Run) -> Figure:
    """From one test digit to another: through the codes, and pixel by pixel."""
    x = some_of_each(run)
    z = run.vae.encode(x).mean
    share = torch.linspace(0, 1, STEPS)[:, None]
    rows, names = [], []
    for a, b in PAIRS:
        codes_between = (1 - share) * z[a] + share * z[b]
        between = run.vae.decode(codes_between).mean
        faded = (1 - share[..., None, None]) * between[0] + share[..., None, None] * between[-1]
        for name, row in ((f"{a} to {b}, codes", between), ("pixels", faded)):
            rows.append(torch.cat([x[a : a + 1], row, x[b : b + 1]]))
            names.append(name)
    images = torch.stack(rows)
    drawn = new_figure(0.85 * WIDTH, 0.72 * WIDTH * tile_aspect(images) + 0.1)
    axes = drawn.add_subplot(anchor="E")
    place = plot_tiles(axes, images, names, [""] * images.shape[1])
    for row in range(len(names)):
        for column in (0, images.shape[1] - 1):
            place.frame(axes, row, column, ORANGE)
    return drawn
