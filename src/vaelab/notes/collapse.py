"""Note 3: the mean of the squared error beside its sum, on the same net."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from vaelab.figures.draw.style import BLACK, BLUE, ORANGE, VERMILLION, WIDTH, new_figure, plot_style
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import all_images, numbers, reconstructed, some_of_each, strips
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS = 784
# The loss as it is written, and the scale s of the normal it is: SSE / (2 s^2) + KL.
MEAN, SUM, HALF = math.sqrt(PIXELS / 2), math.sqrt(0.5), 1.0
SCALES = {
    "sum / 0.02": 0.1,
    "sum / 0.18": 0.3,
    "sum": SUM,
    "sum / 2": HALF,
    "sum / 4.5": 1.5,
    "sum / 8": 2.0,
    "sum / 18": 3.0,
    "mean": MEAN,
}
# What the loss of others amounts to in training.
OTHERS = {
    "disentangling-vae": 0.044,
    "bolts": 0.77,
    "pythae": 1.0,
    "PyTorch-VAE": 1.24,
    "disent": 2.79,
}
WORDS = ("loss=mse", "data.binarize=none", "trainer.max_epochs=20")
DRAWS = 100


def make_note(asked: NoteConfig) -> NoteResult:
    runs = {
        name: asked.run(f"{scale:.3g}", *WORDS, f"loss.scale={scale:.5g}")
        for name, scale in SCALES.items()
    }
    measured = {name: numbers(asked.runs / f"{scale:.3g}") for name, scale in SCALES.items()}
    rows = [_row(name, SCALES[name], each) for name, each in measured.items()]
    train = all_images(runs["sum"], "train")
    largest = torch.linalg.eigvalsh(train.flatten(1).double().T.cov())[-1].item()
    single = {
        "variance of a pixel of the test digits": _variance(runs["sum"]),
        "square root of the largest eigenvalue of the training digits' covariance": largest**0.5,
    } | sampled_kl(runs["sum"], DRAWS)
    figures = {
        "digits": draw_digits({name: runs[name] for name in ("mean", "sum", "sum / 0.02")}),
        "scales": draw_scales(measured, largest**0.5),
    }
    return NoteResult(figures, rows, single)


def _row(name: str, scale: float, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "error term": name,
        "implied scale": scale,
        "KL (nats)": found["kl"],
        "squared error of a pixel": found["rmse"] ** 2,
        "active units": found["active_units"],
    }


def _variance(run: Run) -> float:
    """The squared error of a pixel that the mean training digit leaves in the test digits."""
    return (all_images(run) - all_images(run, "train").mean(0)).square().mean().item()


@torch.no_grad()
def sampled_kl(run: Run, draws: int) -> dict[str, float]:
    """KL(q(z|x) || p(z)) of test digits, in closed form and as a mean of log q(z) - log p(z)."""
    q, p = run.vae.encode(all_images(run)), run.vae.latents()
    with seeded_noise(Stream.EVALUATION):
        z = q.sample(torch.Size([draws]))
    one = q.log_prob(z) - p.log_prob(z)
    means = one.mean(1)  # over images, of each draw
    return {
        "KL in closed form": torch.distributions.kl_divergence(q, p).mean().item(),
        f"KL from {draws} draws for each digit": means.mean().item(),
        "its standard error": (means.std() / math.sqrt(draws)).item(),
        "sd of one draw for one digit": one.std(0).mean().item(),
    }


def draw_digits(runs: dict[str, Run]) -> Figure:
    """Test digits, and what each of the runs makes of them."""
    x = some_of_each(next(iter(runs.values())), 2)
    return strips({"test digits": x} | {name: reconstructed(run, x) for name, run in runs.items()})


@plot_style()
def draw_scales(measured: dict[str, dict[str, Any]], threshold: float) -> Figure:
    """KL and squared error against the implied scale, and where the code of others stands."""
    drawn = new_figure(WIDTH, 2.9)
    left, right = drawn.subplots(1, 2, sharex=True)
    scales = list(SCALES.values())
    kl = [each["kl"] for each in measured.values()]
    error = [each["rmse"] ** 2 for each in measured.values()]
    left.semilogx(scales, kl, "o-", color=BLUE, markersize=4)
    left.set(title="KL (nats)", xlabel="implied scale of the decoder")
    right.semilogx(scales, error, "o-", color=VERMILLION, markersize=4)
    right.set(title="squared error of a pixel", xlabel="implied scale of the decoder")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.axvline(threshold, color=BLACK, linewidth=0.8, linestyle=":")
        _mark(axes)
    return drawn


def _mark(axes: Axes) -> None:
    """The scales of others at the top, and those of `sum` and `mean` at the bottom."""
    for name, scale in OTHERS.items():
        axes.axvline(scale, color=ORANGE, linewidth=0.5)
        _write(axes, name, scale, 0.98)
    for name in ("mean", "sum"):
        axes.axvline(SCALES[name], color=ORANGE)
        _write(axes, name, SCALES[name], 0.3, fontweight="bold")


def _write(axes: Axes, name: str, x: float, y: float, **font: Any) -> None:
    font |= {"va": "top", "ha": "right", "rotation": 90, "fontsize": 6.5}
    axes.text(x, y, name, transform=axes.get_xaxis_transform(), **font)
