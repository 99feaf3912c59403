"""Note 6: the ring and other clouds of points, made from N(0, I)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vaelab.distributions.toys import TOYS, bend_into_ring, toy_distribution
from vaelab.estimators.importance import importance_bound
from vaelab.figures.draw.style import BLUE, WIDTH, hide_frame, new_figure, plot_style
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import numbers
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGE = {"ring": 1.6, "moons": 1.9, "pinwheel": 2.1, "eight_gaussians": 2.8}
SIDE = 2.4  # of the others
CELLS = 90  # of a picture of a density
DOTS = 2000


def make_note(asked: NoteConfig) -> NoteResult:
    names = list(TOYS)[: asked.few(len(TOYS), 2)]
    runs = {name: asked.run(name, "experiment=ring", f"data.name={name}") for name in names}
    collapsed = asked.train("collapsed", "experiment=ring", "kl.period=1", "trainer.max_epochs=10")
    rows = [_row(name, run, numbers(asked.runs / name)) for name, run in runs.items()]
    single = {"KL of the ring without warmup": numbers(collapsed)["kl"]}
    size, samples = asked.few(CELLS, 4), asked.few(300, 2)
    found = {name: density(run, EDGE.get(name, SIDE), size, samples) for name, run in runs.items()}
    return NoteResult(
        {"map": draw_map(runs["ring"]), "densities": draw_note(runs, found)}, rows, single
    )


def _row(name: str, run: Run, found: dict[str, Any]) -> dict[str, Any]:
    x = run.data.splits["test"].images
    exact = -toy_distribution(name).log_prob(x).double().mean().item()
    return {
        "data.name": name,
        "NLL (nats)": found["nll"],
        "exact, of the true density": exact,
        "what is missing": found["nll"] - exact,
        "KL (nats)": found["kl"],
        "scale": found["decoder_scale"],
    }


@torch.no_grad()
def density(run: Run, edge: float, cells: int, samples: int) -> Tensor:
    """p(x) (cells, cells) in a square, its first row the lowest, by the importance bound."""
    side = (torch.arange(cells) + 0.5) / cells * 2 * edge - edge
    points = torch.cartesian_prod(side, side)
    with seeded_noise(Stream.EVALUATION):
        log_p = torch.cat([importance_bound(run.vae, x, samples) for x in points.split(2000)])
    return log_p.exp().reshape(cells, cells).T


@plot_style()
def draw_note(runs: dict[str, Run], found: dict[str, Tensor]) -> Figure:
    """The training points of each, what the model draws, and its density."""
    drawn = new_figure(WIDTH, 3.9)
    panels = drawn.subplots(3, len(runs), squeeze=False)
    for column, (name, run) in zip(panels.T, runs.items(), strict=True):
        edge = EDGE.get(name, SIDE)
        _draw_points(column[0], run.data.splits["train"].images[:DOTS], edge)
        _draw_points(column[1], _drawn(run, DOTS), edge)
        column[2].imshow(
            found[name],
            origin="lower",
            extent=(-edge, edge, -edge, edge),
            cmap="cividis",
            vmax=found[name].quantile(0.995).item(),
        )
        column[0].set_title(name.replace("_", " "))
        for axes in column:
            axes.set(xticks=[], yticks=[])
            hide_frame(axes)
    for axes, label in zip(panels[:, 0], ("data", "model, draws", "model, p(x)"), strict=True):
        axes.set_ylabel(label)
    return drawn


def _draw_points(axes: Axes, x: Tensor, edge: float) -> None:
    axes.scatter(x[:, 0], x[:, 1], 0.6, BLUE, linewidths=0)
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")


@torch.no_grad()
def _drawn(run: Run, count: int) -> Tensor:
    with seeded_noise(Stream.SAMPLES):
        return run.vae.decode(torch.randn(count, run.vae.latent_dim)).sample()


@plot_style()
def draw_map(run: Run) -> Figure:
    """One cloud of z, bent by the tutorial's formula and by the trained decoder."""
    with seeded_noise(Stream.SAMPLES), torch.no_grad():
        z = torch.randn(DOTS, 2)
        mean = run.vae.decode(z).mean
    angle = torch.atan2(z[:, 1], z[:, 0])
    drawn = new_figure(WIDTH, 2.5)
    titles = ("z from N(0, I)", "z/10 + z/|z|", "the decoder's mean at z")
    for axes, x, title in zip(
        drawn.subplots(1, 3), (z, bend_into_ring(z), mean), titles, strict=True
    ):
        axes.scatter(x[:, 0], x[:, 1], 1.5, angle, cmap="hsv", linewidths=0)
        axes.set(title=title, aspect="equal")
        if x is not z:
            axes.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
    return drawn
