"""Note 6: transform N(0, I) into a ring and into five other two-dimensional distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vaelab.distributions.toys import TOYS, bend_into_ring, make_toy_distribution
from vaelab.estimators.importance import importance_bound
from vaelab.figures.draw.style import BLUE, WIDTH, hide_frame, new_figure, plot_style
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import read_metrics
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Half of the edge length of the square in which each data set is drawn.
HALF_WIDTHS = {"ring": 1.6, "moons": 1.9, "pinwheel": 2.1, "eight_gaussians": 2.8}
DEFAULT_HALF_WIDTH = 2.4
GRID_SIZE = 90  # grid points along each edge of a density plot
POINTS = 2000


def make_note(config: NoteConfig) -> NoteResult:
    """Train a VAE on each toy data set and compare its NLL with that of the true density."""
    names = list(TOYS)[: config.select(len(TOYS), 2)]
    runs = {
        name: config.train_and_open(name, "experiment=ring", f"data.name={name}") for name in names
    }
    collapsed = config.train("collapsed", "experiment=ring", "kl.period=1", "trainer.max_epochs=10")
    rows = [_make_row(name, run, read_metrics(config.runs / name)) for name, run in runs.items()]
    numbers = {"KL of the ring without warmup": read_metrics(collapsed)["kl"]}
    size, samples = config.select(GRID_SIZE, 4), config.select(300, 2)
    densities = {
        name: estimate_density(run, HALF_WIDTHS.get(name, DEFAULT_HALF_WIDTH), size, samples)
        for name, run in runs.items()
    }
    figures = {"map": draw_map(runs["ring"]), "densities": draw_densities(runs, densities)}
    return NoteResult(figures, rows, numbers)


def _make_row(name: str, run: RunParts, metrics: dict[str, Any]) -> dict[str, Any]:
    x = run.data.splits["test"].images
    exact = -make_toy_distribution(name).log_prob(x).double().mean().item()
    return {
        "data.name": name,
        "NLL (nats)": metrics["nll"],
        "NLL of the true density": exact,
        "difference": metrics["nll"] - exact,
        "KL (nats)": metrics["kl"],
        "scale": metrics["decoder_scale"],
    }


@torch.no_grad()
def estimate_density(run: RunParts, half_width: float, size: int, samples: int) -> Tensor:
    """Estimate p(x) on a square grid with the importance-weighted bound.

    Arguments:
        half_width: The square is [-half_width, half_width]^2.
        size: Grid points along each edge.
        samples: Samples of q(z|x) for each grid point.

    Returns:
        Densities (size, size); the first row has the smallest second coordinate.
    """
    side = (torch.arange(size) + 0.5) / size * 2 * half_width - half_width
    points = torch.cartesian_prod(side, side)
    with seeded_noise(Stream.EVALUATION):
        log_p = torch.cat([importance_bound(run.vae, x, samples) for x in points.split(2000)])
    return log_p.exp().reshape(size, size).T


@plot_style()
def draw_densities(runs: dict[str, RunParts], densities: dict[str, Tensor]) -> Figure:
    """Draw the training points, samples of the model, and its density, for each data set."""
    figure = new_figure(WIDTH, 3.9)
    panels = figure.subplots(3, len(runs), squeeze=False)
    for column, (name, run) in zip(panels.T, runs.items(), strict=True):
        half_width = HALF_WIDTHS.get(name, DEFAULT_HALF_WIDTH)
        _draw_points(column[0], run.data.splits["train"].images[:POINTS], half_width)
        _draw_points(column[1], _sample_points(run, POINTS), half_width)
        column[2].imshow(
            densities[name],
            origin="lower",
            extent=(-half_width, half_width, -half_width, half_width),
            cmap="cividis",
            vmax=densities[name].quantile(0.995).item(),
        )
        column[0].set_title(name.replace("_", " "))
        for axes in column:
            axes.set(xticks=[], yticks=[])
            hide_frame(axes)
    for axes, label in zip(panels[:, 0], ("data", "model, samples", "model, p(x)"), strict=True):
        axes.set_ylabel(label)
    return figure


def _draw_points(axes: Axes, x: Tensor, half_width: float) -> None:
    axes.scatter(x[:, 0], x[:, 1], 0.6, BLUE, linewidths=0)
    axes.set(xlim=(-half_width, half_width), ylim=(-half_width, half_width), aspect="equal")


@torch.no_grad()
def _sample_points(run: RunParts, count: int) -> Tensor:
    """Sample p(x|z) at z ~ N(0, I), (count, 2)."""
    with seeded_noise(Stream.SAMPLES):
        return run.vae.decode(torch.randn(count, run.vae.latent_dim)).sample()


@plot_style()
def draw_map(run: RunParts) -> Figure:
    """Draw samples of z, and their images under the tutorial's formula and under the decoder."""
    with seeded_noise(Stream.SAMPLES), torch.no_grad():
        z = torch.randn(POINTS, 2)
        mean = run.vae.decode(z).mean
    angle = torch.atan2(z[:, 1], z[:, 0])
    figure = new_figure(WIDTH, 2.5)
    titles = ("z from N(0, I)", "z/10 + z/|z|", "the decoder's mean at z")
    for axes, x, title in zip(
        figure.subplots(1, 3), (z, bend_into_ring(z), mean), titles, strict=True
    ):
        axes.scatter(x[:, 0], x[:, 1], 1.5, angle, cmap="hsv", linewidths=0)
        axes.set(title=title, aspect="equal")
        if x is not z:
            axes.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
    return figure
