"""Note 7: a conditional VAE samples the style of a chosen digit, and classifies digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.estimators.importance import importance_bound
from vaelab.figures.draw.style import WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import compute_tile_aspect, plot_tiles
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import prepare_images, read_metrics
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES, STYLES = 10, 7
STYLE_CLASSES = (2, 4, 7)  # the style of the first test digit of each of these classes is copied
OVERRIDES = ("latent_dim=10", "model.hidden=[400,400]", "trainer.max_epochs=60")


def make_note(config: NoteConfig) -> NoteResult:
    """Train a conditional VAE, classify test digits by p(x|y), and compare it with a plain VAE."""
    run = config.train_and_open("conditional", "model=conditional", *OVERRIDES)
    plain = config.train("plain", "model=mlp", *OVERRIDES)
    samples = config.select(50, 2)
    x, y = prepare_images(run), run.data.splits["test"].labels
    x, y = x[: config.select(500, 20)], y[: config.select(500, 20)]
    log_likelihoods = class_log_likelihoods(run, x, samples)
    correct = log_likelihoods.argmax(-1) == y
    rows = [
        {
            "digit": digit,
            "recognised": f"{int(correct[y == digit].sum())} of {int((y == digit).sum())}",
        }
        for digit in range(CLASSES)
    ]
    marginal = log_likelihoods.logsumexp(-1) - torch.tensor(CLASSES).log()
    numbers = {
        "NLL given the digit (nats)": read_metrics(config.runs / "conditional")["nll"],
        "NLL of a model without classes": read_metrics(plain)["nll"],
        "NLL with the digit unknown, the mean of p(x given y)": -marginal.mean().item(),
        "recognised by the largest p(x given y)": correct.double().mean().item(),
    }
    return NoteResult({"styles": draw_styles(run, x, y)}, rows, numbers)


@torch.no_grad()
def class_log_likelihoods(run: RunParts, x: Tensor, samples: int) -> Tensor:
    """Compute the importance-weighted bound on log p(x|y) for every class y.

    Arguments:
        x: Images (N, 1, H, W).
        samples: Samples of q(z|x, y) for each image and class.

    Returns:
        The bounds in nats, (N, 10).
    """
    bounds = []
    for digit in range(CLASSES):
        with seeded_noise(Stream.EVALUATION, digit):
            model = run.vae.condition_on(torch.full((len(x),), digit))
            bounds.append(importance_bound(model, x, samples))
    return torch.stack(bounds, -1)


@plot_style()
@torch.no_grad()
def draw_styles(run: RunParts, x: Tensor, y: Tensor) -> Figure:
    """Draw every digit in the same styles: each row shares one z.

    The first rows sample z from N(0, I); the last three take the mean of q(z|x, y) of a test digit.
    """
    digits = torch.arange(CLASSES)
    examples = torch.tensor([int((y == digit).nonzero()[0]) for digit in STYLE_CLASSES])
    with seeded_noise(Stream.SAMPLES):
        z = torch.randn(STYLES, run.vae.latent_dim)
    z = torch.cat([z, run.vae.condition_on(y[examples]).encode(x[examples]).mean])
    rows = run.vae.condition_on(digits).decode(z.unsqueeze(1).expand(-1, CLASSES, -1)).mean
    first = torch.ones_like(rows[:, :1])
    first[STYLES:, 0] = x[examples]
    images = torch.cat([first, rows], 1)
    figure = new_figure(0.72 * WIDTH, 0.62 * WIDTH * compute_tile_aspect(images) + 0.3)
    names = [*[f"z {i + 1}" for i in range(STYLES)], *["z of the digit"] * len(STYLE_CLASSES)]
    axes = figure.add_subplot()
    plot_tiles(axes, images, names, ["", *map(str, range(CLASSES))])
    axes.xaxis.tick_top()
    return figure
