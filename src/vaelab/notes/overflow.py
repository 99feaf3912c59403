"""Note 12: run four experiments without NaN, and reproduce two mistakes that cause NaN."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vaelab.distributions.bernoulli import IndependentBernoulli
from vaelab.distributions.normal import DiagonalNormal, StandardNormal
from vaelab.figures.draw.style import BLUE, ORANGE, VERMILLION, WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import compute_tile_aspect, plot_tiles
from vaelab.likelihoods.bernoulli import Bernoulli
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import first_images_of_each_class, read_curve, read_metrics, reconstruct
from vaelab.posteriors.base import diagonal_normal
from vaelab.posteriors.diagonal import Diagonal
from vaelab.runs.run import RunParts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOUND = 7.0  # the default of posterior=diagonal
EXPERIMENTS = ("bce_2_latents", "bce_20_latents", "mse_2_latents", "mse_20_latents")
HIGH_LEARNING_RATES = {"bce": "optimizer.lr=3e-2", "mse": "optimizer.lr=1.0"}
MISTAKES = {
    "bce": ("sigmoid, then log", ("loss._target_=vaelab.notes.overflow.SigmoidThenLog",)),
    "mse": (
        "exp without a bound",
        ("posterior._target_=vaelab.notes.overflow.Unbounded", "~posterior.bound"),
    ),
}
SHORT_RUN = ("trainer.max_epochs=2", "trainer.log_every_n_steps=1", "samples=1")


class SigmoidThenLog(Bernoulli):
    """A Bernoulli likelihood with a deliberate mistake: it computes the log of a sigmoid.

    log p(x|z) = x ln p + (1 - x) ln(1 - p) with p = sigmoid(logit), which float32 rounds to 0 or 1
    for large logits.
    """

    def forward(self, out: Tensor) -> _RoundedBernoulli:
        return _RoundedBernoulli(out, len(self.shape))


class _RoundedBernoulli(IndependentBernoulli):
    """A Bernoulli distribution whose log_prob uses the rounded probability."""

    def log_prob(self, value: Tensor) -> Tensor:
        p = self.mean
        return self.sum_over_event(value * p.log() + (1 - value) * (1 - p).log())


class Unbounded(Diagonal):
    """A diagonal posterior with a deliberate mistake: its log variance has no bound.

    The encoder returns ln s^2, and exp(ln s^2) overflows in float32 above 88.7.
    """

    def __init__(self, latent_dim: int):
        super().__init__(latent_dim)

    def forward(self, out: Tensor) -> DiagonalNormal:
        mean, log_variance = out.chunk(2, dim=-1)
        return DiagonalNormal(mean, log_variance / 2)


def make_note(config: NoteConfig) -> NoteResult:
    """Train the four experiments, and short runs with and without each mistake."""
    runs = {name: config.train_and_open(name, f"experiment={name}") for name in EXPERIMENTS}
    rows = [_make_row(f"experiment={name}", config.runs / name) for name in EXPERIMENTS]
    for loss, (mistake, overrides) in MISTAKES.items():
        rate = HIGH_LEARNING_RATES[loss]
        short = (f"experiment={loss}_2_latents", "model=mlp", rate, *SHORT_RUN)
        correct = config.train(f"{loss}-kept", *short)
        rows.append(_make_row(f"{loss}_2_latents model=mlp {rate}", correct))
        broken = config.train(f"{loss}-broken", *short, *overrides, "on_nan=ignore", may_fail=True)
        rows.append(_make_row(f"the same, {mistake}", broken))
    figures = {"four": draw_experiments(runs, config.runs), "float32": draw_float32()}
    return NoteResult(figures, rows)


def _make_row(name: str, folder: Path) -> dict[str, Any]:
    metrics = read_metrics(folder)
    return {
        "run": name,
        "reconstruction (nats)": _number_or_nan(metrics["reconstruction"]),
        "KL (nats)": _number_or_nan(metrics["kl"]),
        "RMSE of a pixel": _number_or_nan(metrics["rmse"]),
        "first NaN": find_first_nan(folder),
    }


def _number_or_nan(number: float | None) -> float | str:
    """Return the number, or "NaN" for None, which metrics.json holds in place of NaN."""
    return "NaN" if number is None else number


def find_first_nan(folder: Path) -> str:
    """Find the first optimizer step whose logged training loss is NaN."""
    steps, values = read_curve(folder, "train/loss")
    nan_steps = [
        int(step) + 1 for step, value in zip(steps, values, strict=True) if math.isnan(value)
    ]
    return f"step {nan_steps[0]}" if nan_steps else "none"


@plot_style()
def draw_experiments(runs: dict[str, RunParts], folder: Path) -> Figure:
    """Draw the validation curves of the four experiments, and their reconstructions.

    Arguments:
        runs: The opened runs by experiment.
        folder: The folder that holds the run folders.
    """
    x = first_images_of_each_class(next(iter(runs.values())), 2)
    images = torch.stack([x, *(reconstruct(run, x) for run in runs.values())])
    height = 0.8 * WIDTH * compute_tile_aspect(images)
    figure = new_figure(WIDTH, 1.9 + height)
    subfigures: Any = figure.subfigures(2, 1, height_ratios=(1.9, height))
    above, below = subfigures
    panels: Any = above.subplots(1, 2)
    for axes, loss in zip(panels, ("bce", "mse"), strict=True):
        for name, colour in zip(
            (f"{loss}_2_latents", f"{loss}_20_latents"), (ORANGE, BLUE), strict=True
        ):
            steps, values = read_curve(folder / name, "val/reconstruction")
            axes.plot(steps, values, color=colour, label=name.replace("_", " "))
        axes.set(xlabel="optimizer step", title=f"reconstruction term, loss={loss}")
        axes.legend()
    names = [name.replace("_", " ") for name in runs]
    plot_tiles(below.add_subplot(), images, ["test digits", *names], [""] * len(x))
    return figure


@plot_style()
def draw_float32() -> Figure:
    """Draw both mistakes beside vaelab's computation in float32, up to where they overflow."""
    figure = new_figure(WIDTH, 2.6)
    left, right = figure.subplots(1, 2)
    logits = torch.linspace(0, 30, 601)
    black = torch.zeros(601, 1)
    wrong, stable = (
        -bernoulli(logits[:, None], 1).log_prob(black)
        for bernoulli in (_RoundedBernoulli, IndependentBernoulli)
    )
    _draw_mistake(left, logits, wrong, stable, "-ln(1 - s(logit))", "upper left")
    left.set(title="cost of a black pixel (nats)", xlabel="logit from the decoder")
    outputs = torch.linspace(0, 200, 2001)[:, None]
    p = StandardNormal(torch.zeros(1))
    zeros = torch.zeros_like(outputs)
    wrong = DiagonalNormal(zeros, outputs / 2).elementwise_kl(p)[:, 0]
    stable = diagonal_normal(zeros, outputs, BOUND).elementwise_kl(p)[:, 0]
    _draw_mistake(right, outputs[:, 0], wrong, stable, "exp(output)", "center right")
    right.set(title="KL of a dimension (nats)", xlabel="output of the encoder", yscale="log")
    return figure


def _draw_mistake(
    axes: Axes, x: Tensor, wrong: Tensor, stable: Tensor, label: str, location: Any
) -> None:
    """Draw both curves, and mark the last finite value of the wrong one."""
    axes.plot(x, stable, color=BLUE, linewidth=3, alpha=0.5, label="vaelab")
    axes.plot(x, wrong, color=VERMILLION, linewidth=1, label=label)
    last = int(wrong.isfinite().nonzero()[-1])
    axes.plot(x[last], wrong[last], "x", color=VERMILLION)
    axes.annotate(
        f"inf after {x[last]:.1f}", (x[last], wrong[last]), (6, -4), textcoords="offset points"
    )
    axes.legend(loc=location)
