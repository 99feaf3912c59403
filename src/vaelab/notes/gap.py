"""Note 8: estimate log p(x) by importance sampling, and the gap that K samples of q(z|x) leave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Normal

from vaelab.figures.draw.style import BLACK, BLUE, GREEN, ORANGE, WIDTH, new_figure, plot_style
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import prepare_images
from vaelab.objectives.base import importance_terms, log_mean_exp, sample_with_log_prob
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLE_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
TOY_X, TOY_VARIANCE = 1.5, 0.25  # the toy is z ~ N(0, 1), x | z ~ N(z, 1/4), at x = 1.5
# Mean and variance of each proposal q(z) for the toy.
PROPOSALS = {"the posterior": (1.2, 0.2), "N(1, 0.3)": (1.0, 0.3), "p(z)": (0.0, 1.0)}
TOY_SAMPLES = 2_000_000
SAMPLES_PER_PASS = 20  # samples of z for each digit that are decoded at once


def make_note(config: NoteConfig) -> NoteResult:
    """Compute the bounds L_K of the toy and of test digits for several proposals."""
    toy_samples = config.select(TOY_SAMPLES, 5000)
    toys = {
        name: importance_bounds(toy_log_weights(mean, variance, toy_samples), SAMPLE_COUNTS)
        for name, (mean, variance) in PROPOSALS.items()
    }
    run = config.train_and_open("mlp", "trainer.max_epochs=30")
    x = prepare_images(run)[: config.select(200, 10)]
    samples = config.select(SAMPLE_COUNTS[-1], 20)
    counts = [count for count in SAMPLE_COUNTS if count <= samples]
    with seeded_noise(Stream.EVALUATION):
        posterior = importance_bounds(digit_log_weights(run, x, samples), counts)
        prior = importance_bounds(digit_log_weights(run, x, samples, from_prior=True), counts)
    rows = [
        {"K": count}
        | {f"toy, {name}": f"{bounds[count]:.4f}" for name, bounds in toys.items()}
        | {
            "digits, q(z given x)": f"{posterior[count]:.1f}",
            "digits, p(z)": f"{prior[count]:.1f}",
        }
        for count in counts
    ]
    numbers = {"log p(x) of the toy, exact": f"{toy_log_evidence():.4f}"}
    return NoteResult({"gap": draw_gap(toys, posterior, prior)}, rows, numbers)


def toy_log_evidence() -> float:
    """Compute log p(x) of the toy, where x ~ N(0, 1 + TOY_VARIANCE)."""
    x, variance = torch.tensor([TOY_X, 1 + TOY_VARIANCE], dtype=torch.float64)
    return Normal(torch.zeros_like(x), variance.sqrt()).log_prob(x).item()


def toy_log_weights(mean: float, variance: float, samples: int) -> Tensor:
    """Compute log p(x, z) / q(z) of the toy for samples of q = N(mean, variance), (samples, 1)."""
    with seeded_noise(Stream.EVALUATION):
        noise = torch.randn(samples, 1, dtype=torch.float64)
    z = mean + math.sqrt(variance) * noise
    log_q = -noise.square() / 2 - math.log(variance) / 2
    log_p = (
        -z.square() / 2
        - (TOY_X - z).square() / (2 * TOY_VARIANCE)
        - math.log(2 * math.pi * TOY_VARIANCE) / 2
    )
    return log_p - log_q


@torch.no_grad()
def digit_log_weights(run: RunParts, x: Tensor, samples: int, from_prior: bool = False) -> Tensor:
    """Compute log p(x, z) / q(z|x) for samples of q(z|x), or log p(x|z) for samples of p(z).

    Arguments:
        x: Images (N, 1, H, W).
        samples: Number of samples of z for each image.
        from_prior: If True, sample z from p(z) instead of q(z|x).

    Returns:
        Log weights (samples, N) in nats, in double precision.
    """
    q, p = run.vae.encode(x), run.vae.latents()
    parts = []
    for start in range(0, samples, SAMPLES_PER_PASS):
        size = torch.Size([min(SAMPLES_PER_PASS, samples - start)])
        if from_prior:
            parts.append(run.vae.decode(p.sample(torch.Size([*size, len(x)]))).log_prob(x))
        else:
            log_p, kl = importance_terms(run.vae, x, *sample_with_log_prob(q, size[0]), p)
            parts.append(log_p - kl)
    return torch.cat(parts).double()


def importance_bounds(log_w: Tensor, counts: Sequence[int]) -> dict[int, float]:
    """Compute L_K, the mean over images of log 1/K sum_k w_k, for each K.

    Each L_K averages over all disjoint groups of K samples. By Jensen's inequality a group of 2K
    samples gives at least the mean of its two halves, so the values increase with K for any set of
    samples if each K divides the next.

    Arguments:
        log_w: Log importance weights (samples, N).
        counts: The values of K.

    Returns:
        L_K in nats by K.
    """
    bounds = {}
    for count in counts:
        groups = log_w[: len(log_w) // count * count].unflatten(0, (-1, count))
        bounds[count] = log_mean_exp(groups.transpose(0, 1)).mean().item()
    return bounds


@plot_style()
def draw_gap(
    toys: dict[str, dict[int, float]], posterior: dict[int, float], prior: dict[int, float]
) -> Figure:
    """Draw the bounds of the toy and of the digits against K.

    Arguments:
        toys: L_K of the toy by K, for each proposal.
        posterior, prior: L_K of the digits by K, with z from q(z|x) and from p(z).
    """
    figure = new_figure(WIDTH, 2.9)
    left, right = figure.subplots(1, 2)
    for (name, bounds), colour in zip(toys.items(), (GREEN, BLUE, ORANGE), strict=True):
        _draw_bounds(left, bounds, colour, f"z from {name}")
    left.axhline(
        toy_log_evidence(), color=BLACK, linewidth=0.8, linestyle=":", label="log p(x), exact"
    )
    left.set(title="a toy with known log p(x)", ylabel="bound (nats)", ylim=(-3.2, -1.8))
    _draw_bounds(right, posterior, BLUE, "z from q(z|x)")
    _draw_bounds(right, prior, ORANGE, "z from p(z)")
    right.set_title("test digits")
    for axes in (left, right):
        axes.set(xscale="log", xlabel="K, samples of z for each x")
        axes.legend(loc="lower right")
    return figure


def _draw_bounds(axes: Axes, bounds: dict[int, float], colour: str, label: str) -> None:
    axes.plot(list(bounds), list(bounds.values()), "o-", color=colour, markersize=3, label=label)
