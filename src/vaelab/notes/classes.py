"""Note 7: choose the digit, then sample its style."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.estimators.importance import importance_bound
from vaelab.figures.draw.style import WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import plot_tiles, tile_aspect
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import all_images, numbers
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES, STYLES = 10, 7
COPIED = (2, 4, 7)  # the classes of test digits whose style is taken
WORDS = ("latent_dim=10", "model.hidden=[400,400]", "trainer.max_epochs=60")


def make_note(asked: NoteConfig) -> NoteResult:
    run = asked.run("conditional", "model=conditional", *WORDS)
    plain = asked.train("plain", "model=mlp", *WORDS)
    samples = asked.few(50, 2)
    x, y = all_images(run), run.data.splits["test"].labels
    x, y = x[: asked.few(500, 20)], y[: asked.few(500, 20)]
    by_class = log_p(run, x, samples)
    right = by_class.argmax(-1) == y
    rows = [
        {
            "digit": digit,
            "recognised": f"{int(right[y == digit].sum())} of {int((y == digit).sum())}",
        }
        for digit in range(CLASSES)
    ]
    mixed = by_class.logsumexp(-1) - torch.tensor(CLASSES).log()
    single = {
        "NLL given the digit (nats)": numbers(asked.runs / "conditional")["nll"],
        "NLL of a model without classes": numbers(plain)["nll"],
        "NLL with the digit unknown, the mean of p(x given y)": -mixed.mean().item(),
        "recognised by the largest p(x given y)": right.double().mean().item(),
    }
    return NoteResult({"styles": draw_note(run, x, y)}, rows, single)


@torch.no_grad()
def log_p(run: Run, x: Tensor, samples: int) -> Tensor:
    """The importance-weighted bound on log p(x|y) of images (N, ...) for every class, (N, 10)."""
    found = []
    for digit in range(CLASSES):
        with seeded_noise(Stream.EVALUATION, digit):
            model = run.vae.condition_on(torch.full((len(x),), digit))
            found.append(importance_bound(model, x, samples))
    return torch.stack(found, -1)


@plot_style()
@torch.no_grad()
def draw_note(run: Run, x: Tensor, y: Tensor) -> Figure:
    """Every digit in the same styles: rows share z, from N(0, I) and from three test digits."""
    digits = torch.arange(CLASSES)
    some = torch.tensor([int((y == digit).nonzero()[0]) for digit in COPIED])
    with seeded_noise(Stream.SAMPLES):
        z = torch.randn(STYLES, run.vae.latent_dim)
    z = torch.cat([z, run.vae.condition_on(y[some]).encode(x[some]).mean])
    rows = run.vae.condition_on(digits).decode(z.unsqueeze(1).expand(-1, CLASSES, -1)).mean
    first = torch.ones_like(rows[:, :1])
    first[STYLES:, 0] = x[some]
    images = torch.cat([first, rows], 1)
    drawn = new_figure(0.72 * WIDTH, 0.62 * WIDTH * tile_aspect(images) + 0.3)
    names = [*[f"z {i + 1}" for i in range(STYLES)], *["z of the digit"] * len(COPIED)]
    axes = drawn.add_subplot()
    plot_tiles(axes, images, names, ["", *map(str, range(CLASSES))])
    axes.xaxis.tick_top()
    return drawn
