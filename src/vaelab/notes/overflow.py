"""Note 12: four experiments without a nan, and the two ways to get one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vaelab.distributions.bernoulli import IndependentBernoulli as Bits
from vaelab.distributions.normal import DiagonalNormal, StandardNormal
from vaelab.figures.draw.style import BLUE, ORANGE, VERMILLION, WIDTH, new_figure, plot_style
from vaelab.figures.draw.tiles import plot_tiles, tile_aspect
from vaelab.likelihoods.bernoulli import Bernoulli
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import curve, numbers, reconstructed, some_of_each
from vaelab.posteriors.base import diagonal_normal
from vaelab.posteriors.diagonal import Diagonal
from vaelab.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOUND = 7.0  # as posterior=diagonal has it
EXPERIMENTS = ("bce_2_latents", "bce_20_latents", "mse_2_latents", "mse_20_latents")
FAST = {"bce": "optimizer.lr=3e-2", "mse": "optimizer.lr=1.0"}
MISTAKES = {
    "bce": ("sigmoid, then log", ("loss._target_=vaelab.notes.overflow.SigmoidThenLog",)),
    "mse": (
        "exp without a bound",
        ("posterior._target_=vaelab.notes.overflow.Unbounded", "~posterior.bound"),
    ),
}
SHORT = ("trainer.max_epochs=2", "trainer.log_every_n_steps=1", "samples=1")


class SigmoidThenLog(Bernoulli):
    """A mistake: x ln p + (1 - x) ln(1 - p) of p = s(out), which float32 rounds to 0 and to 1."""

    def forward(self, out: Tensor) -> _Rounded:
        return _Rounded(out, len(self.shape))


class _Rounded(Bits):
    def log_prob(self, value: Tensor) -> Tensor:
        p = self.mean
        return self.total(value * p.log() + (1 - value) * (1 - p).log())


class Unbounded(Diagonal):
    """Another: the encoder gives ln s^2, and nothing keeps its exponential below infinity."""

    def __init__(self, latent_dim: int):
        super().__init__(latent_dim)

    def forward(self, out: Tensor) -> DiagonalNormal:
        mean, log_variance = out.chunk(2, dim=-1)
        return DiagonalNormal(mean, log_variance / 2)


def make_note(asked: NoteConfig) -> NoteResult:
    runs = {name: asked.run(name, f"experiment={name}") for name in EXPERIMENTS}
    rows = [_row(f"experiment={name}", asked.runs / name) for name in EXPERIMENTS]
    for loss, (mistake, words) in MISTAKES.items():
        fast = (f"experiment={loss}_2_latents", "model=mlp", FAST[loss], *SHORT)
        rows.append(
            _row(f"{loss}_2_latents model=mlp {FAST[loss]}", asked.train(f"{loss}-kept", *fast))
        )
        broken = asked.train(f"{loss}-broken", *fast, *words, "on_nan=ignore", may_fail=True)
        rows.append(_row(f"the same, {mistake}", broken))
    return NoteResult({"four": draw_four(runs, asked.runs), "float32": draw_float32()}, rows)


def _row(name: str, folder: Path) -> dict[str, Any]:
    found = numbers(folder)
    return {
        "run": name,
        "reconstruction (nats)": _finite(found["reconstruction"]),
        "KL (nats)": _finite(found["kl"]),
        "RMSE of a pixel": _finite(found["rmse"]),
        "first nan": first_nan(folder),
    }


def _finite(number: float | None) -> float | str:
    return "nan" if number is None else number


def first_nan(folder: Path) -> str:
    """The first logged optimizer step whose loss is no number."""
    steps, values = curve(folder, "train/loss")
    found = [int(step) + 1 for step, value in zip(steps, values, strict=True) if math.isnan(value)]
    return f"in step {found[0]}" if found else "none"


@plot_style()
def draw_four(runs: dict[str, Run], folder: Path) -> Figure:
    """The validation curves of the four experiments, and their reconstructions."""
    x = some_of_each(next(iter(runs.values())), 2)
    images = torch.stack([x, *(reconstructed(run, x) for run in runs.values())])
    drawn = new_figure(WIDTH, 1.9 + 0.8 * WIDTH * tile_aspect(images))
    parts: Any = drawn.subfigures(2, 1, height_ratios=(1.9, 0.8 * WIDTH * tile_aspect(images)))
    above, below = parts
    panels: Any = above.subplots(1, 2)
    for axes, loss in zip(panels, ("bce", "mse"), strict=True):
        for name, colour in zip(
            (f"{loss}_2_latents", f"{loss}_20_latents"), (ORANGE, BLUE), strict=True
        ):
            steps, values = curve(folder / name, "val/reconstruction")
            axes.plot(steps, values, color=colour, label=name.replace("_", " "))
        axes.set(xlabel="optimizer step", title=f"reconstruction term, loss={loss}")
        axes.legend()
    names = [name.replace("_", " ") for name in runs]
    plot_tiles(below.add_subplot(), images, ["test digits", *names], [""] * len(x))
    return drawn


@plot_style()
def draw_float32() -> Figure:
    """Both mistakes beside what is used here, in float32; a line ends where it is infinite."""
    drawn = new_figure(WIDTH, 2.6)
    left, right = drawn.subplots(1, 2)
    logits = torch.linspace(0, 30, 601)
    black = torch.zeros(601, 1)
    wrong, used = (-p(logits[:, None], 1).log_prob(black) for p in (_Rounded, Bits))
    _draw_mistake(left, logits, wrong, used, "-ln(1 - s(logit))", "upper left")
    left.set(title="cost of a black pixel (nats)", xlabel="logit that the decoder gives")
    outputs = torch.linspace(0, 200, 2001)[:, None]
    p = StandardNormal(torch.zeros(1))
    zeros = torch.zeros_like(outputs)
    wrong = DiagonalNormal(zeros, outputs / 2).kl(p)[:, 0]
    used = diagonal_normal(zeros, outputs, BOUND).kl(p)[:, 0]
    _draw_mistake(right, outputs[:, 0], wrong, used, "exp(output)", "center right")
    right.set(title="KL of a dimension (nats)", xlabel="what the encoder gives", yscale="log")
    return drawn


def _draw_mistake(
    axes: Axes, at: Tensor, wrong: Tensor, used: Tensor, name: str, place: Any
) -> None:
    axes.plot(at, used, color=BLUE, linewidth=3, alpha=0.5, label="as it is done here")
    axes.plot(at, wrong, color=VERMILLION, linewidth=1, label=name)
    last = int(wrong.isfinite().nonzero()[-1])
    axes.plot(at[last], wrong[last], "x", color=VERMILLION)
    axes.annotate(
        f"inf after {at[last]:.1f}", (at[last], wrong[last]), (6, -4), textcoords="offset points"
    )
    axes.legend(loc=place)
