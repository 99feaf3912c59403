"""Note 3: compare the mean of the squared error with its sum, on the same network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from vaelab.figures.draw.style import BLACK, BLUE, ORANGE, VERMILLION, WIDTH, new_figure, plot_style
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import (
    draw_image_rows,
    first_images_of_each_class,
    prepare_images,
    read_metrics,
    reconstruct,
)
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS = 784
# The scale s of the normal decoder that each form of the loss implies: SSE / (2 s^2) + KL.
MEAN_SCALE, SUM_SCALE, HALF_SUM_SCALE = math.sqrt(PIXELS / 2), math.sqrt(0.5), 1.0
SCALES = {
    "sum / 0.02": 0.1,
    "sum / 0.18": 0.3,
    "sum": SUM_SCALE,
    "sum / 2": HALF_SUM_SCALE,
    "sum / 4.5": 1.5,
    "sum / 8": 2.0,
    "sum / 18": 3.0,
    "mean": MEAN_SCALE,
}
# The scale that the training loss of other projects implies.
OTHER_PROJECTS = {
    "disentangling-vae": 0.044,
    "bolts": 0.77,
    "pythae": 1.0,
    "PyTorch-VAE": 1.24,
    "disent": 2.79,
}
OVERRIDES = ("loss=mse", "data.binarize=none", "trainer.max_epochs=20")
SAMPLES = 100


def make_note(config: NoteConfig) -> NoteResult:
    """Train `loss=mse` at eight scales, and compare KL and squared error with the theory."""
    runs = {
        name: config.train_and_open(f"{scale:.3g}", *OVERRIDES, f"loss.scale={scale:.5g}")
        for name, scale in SCALES.items()
    }
    metrics = {name: read_metrics(config.runs / f"{scale:.3g}") for name, scale in SCALES.items()}
    rows = [_make_row(name, SCALES[name], run_metrics) for name, run_metrics in metrics.items()]
    train = prepare_images(runs["sum"], "train")
    largest = torch.linalg.eigvalsh(train.flatten(1).double().T.cov())[-1].item()
    numbers = {
        "variance of a pixel of the test digits": _mean_image_error(runs["sum"]),
        "square root of the largest eigenvalue of the training digits' covariance": largest**0.5,
    } | estimate_kl(runs["sum"], SAMPLES)
    figures = {
        "digits": draw_digits({name: runs[name] for name in ("mean", "sum", "sum / 0.02")}),
        "scales": draw_scales(metrics, largest**0.5),
    }
    return NoteResult(figures, rows, numbers)


def _make_row(name: str, scale: float, metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "error term": name,
        "implied scale": scale,
        "KL (nats)": metrics["kl"],
        "squared error of a pixel": metrics["rmse"] ** 2,
        "active units": metrics["active_units"],
    }


def _mean_image_error(run: RunParts) -> float:
    """Compute the mean squared error per pixel of predicting the mean training digit."""
    mean = prepare_images(run, "train").mean(0)
    return (prepare_images(run) - mean).square().mean().item()


@torch.no_grad()
def estimate_kl(run: RunParts, samples: int) -> dict[str, float]:
    """Compute KL(q(z|x) || p(z)) of the test digits in closed form and by Monte Carlo.

    KL = E_q[log q(z|x) - log p(z)]

    Arguments:
        samples: Number of samples of z for each digit.

    Returns:
        Both values in nats, the standard error of the estimate, and the standard deviation of one
        sample.
    """
    q, p = run.vae.encode(prepare_images(run)), run.vae.latents()
    with seeded_noise(Stream.EVALUATION):
        z = q.sample(torch.Size([samples]))
    log_ratio = q.log_prob(z) - p.log_prob(z)
    means = log_ratio.mean(1)  # over the images, one for each sample
    return {
        "KL in closed form": torch.distributions.kl_divergence(q, p).mean().item(),
        f"KL from {samples} samples per digit": means.mean().item(),
        "its standard error": (means.std() / math.sqrt(samples)).item(),
        "sd of one sample of one digit": log_ratio.std(0).mean().item(),
    }


def draw_digits(runs: dict[str, RunParts]) -> Figure:
    """Draw test digits and their reconstructions by each run."""
    x = first_images_of_each_class(next(iter(runs.values())), 2)
    return draw_image_rows(
        {"test digits": x} | {name: reconstruct(run, x) for name, run in runs.items()}
    )


@plot_style()
def draw_scales(metrics: dict[str, dict[str, Any]], threshold: float) -> Figure:
    """Draw KL and squared error against the implied scale.

    Arguments:
        metrics: Metrics of the run at each of the SCALES.
        threshold: Scale above which a linear decoder would collapse, drawn as a dotted line.
    """
    figure = new_figure(WIDTH, 2.9)
    left, right = figure.subplots(1, 2, sharex=True)
    scales = list(SCALES.values())
    kl = [run_metrics["kl"] for run_metrics in metrics.values()]
    error = [run_metrics["rmse"] ** 2 for run_metrics in metrics.values()]
    left.semilogx(scales, kl, "o-", color=BLUE, markersize=4)
    left.set(title="KL (nats)", xlabel="implied scale of the decoder")
    right.semilogx(scales, error, "o-", color=VERMILLION, markersize=4)
    right.set(title="squared error of a pixel", xlabel="implied scale of the decoder")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.axvline(threshold, color=BLACK, linewidth=0.8, linestyle=":")
        _mark_scales(axes)
    return figure


def _mark_scales(axes: Axes) -> None:
    """Mark the scales of other projects at the top, and those of `sum` and `mean` below."""
    for name, scale in OTHER_PROJECTS.items():
        axes.axvline(scale, color=ORANGE, linewidth=0.5)
        _write_label(axes, name, scale, 0.98)
    for name in ("mean", "sum"):
        axes.axvline(SCALES[name], color=ORANGE)
        _write_label(axes, name, SCALES[name], 0.3, fontweight="bold")


def _write_label(axes: Axes, name: str, x: float, y: float, **font: Any) -> None:
    font |= {"va": "top", "ha": "right", "rotation": 90, "fontsize": 6.5}
    axes.text(x, y, name, transform=axes.get_xaxis_transform(), **font)
