"""Note 8: log p(x) from the z that q(z|x) proposes, and the gap that K of them leave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Normal

from vaelab.figures.draw.style import BLACK, BLUE, GREEN, ORANGE, WIDTH, new_figure, plot_style
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import all_images
from vaelab.objectives.base import importance_terms, log_mean_exp, sample_with_log_prob
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
X, VARIANCE = 1.5, 0.25  # the toy: z ~ N(0, 1), x | z ~ N(z, 1/4)
TOYS = {"the posterior": (1.2, 0.2), "N(1, 0.3)": (1.0, 0.3), "p(z)": (0.0, 1.0)}  # variances
DRAWS = 2_000_000  # of the toy
AT_ONCE = 20  # draws of each digit


def make_note(asked: NoteConfig) -> NoteResult:
    count = asked.few(DRAWS, 5000)
    toys = {name: bounds(toy_weights(*q, count), COUNTS) for name, q in TOYS.items()}
    run = asked.run("mlp", "trainer.max_epochs=30")
    x, most = all_images(run)[: asked.few(200, 10)], asked.few(COUNTS[-1], 20)
    counts = [each for each in COUNTS if each <= most]
    with seeded_noise(Stream.EVALUATION):
        ours = bounds(log_weights(run, x, most), counts)
        blind = bounds(log_weights(run, x, most, blindly=True), counts)
    rows = [
        {"K": each}
        | {f"toy, {name}": f"{found[each]:.4f}" for name, found in toys.items()}
        | {"digits, q(z given x)": f"{ours[each]:.1f}", "digits, p(z)": f"{blind[each]:.1f}"}
        for each in counts
    ]
    single = {"log p(x) of the toy, exact": f"{log_evidence():.4f}"}
    return NoteResult({"gap": draw_gap(toys, ours, blind)}, rows, single)


def log_evidence() -> float:
    """log p(x) of the toy: x ~ N(0, 1 + VARIANCE)."""
    x, variance = torch.tensor([X, 1 + VARIANCE], dtype=torch.float64)
    return Normal(torch.zeros_like(x), variance.sqrt()).log_prob(x).item()


def toy_weights(mean: float, variance: float, draws: int) -> Tensor:
    """log p(x, z) / q(z) of draws of q = N(mean, variance), (draws, 1)."""
    with seeded_noise(Stream.EVALUATION):
        e = torch.randn(draws, 1, dtype=torch.float64)
    z = mean + math.sqrt(variance) * e
    log_q = -e.square() / 2 - math.log(variance) / 2
    log_p = (
        -z.square() / 2 - (X - z).square() / (2 * VARIANCE) - math.log(2 * math.pi * VARIANCE) / 2
    )
    return log_p - log_q


@torch.no_grad()
def log_weights(run: Run, x: Tensor, draws: int, blindly: bool = False) -> Tensor:
    """log p(x, z) / q(z|x) of draws for each image (draws, N); blindly z is drawn from p(z)."""
    q, p = run.vae.encode(x), run.vae.latents()
    found = []
    for done in range(0, draws, AT_ONCE):
        size = torch.Size([min(AT_ONCE, draws - done)])
        if blindly:
            found.append(run.vae.decode(p.sample(torch.Size([*size, len(x)]))).log_prob(x))
        else:
            log_p, kl = importance_terms(run.vae, x, *sample_with_log_prob(q, size[0]), p)
            found.append(log_p - kl)
    return torch.cat(found).double()


def bounds(log_w: Tensor, counts: Sequence[int]) -> dict[int, float]:
    """The mean over images of log 1/K sum_k w_k, by K: over all groups of K of the draws (M, N).

    A group of 2K gives no less than the mean of its halves: the bounds rise with K in every draw
    where each K divides the next.
    """
    found = {}
    for count in counts:
        whole = log_w[: len(log_w) // count * count].unflatten(0, (-1, count))
        found[count] = log_mean_exp(whole.transpose(0, 1)).mean().item()
    return found


@plot_style()
def draw_gap(
    toys: dict[str, dict[int, float]], ours: dict[int, float], blind: dict[int, float]
) -> Figure:
    """The bounds of the toy and of the digits against K."""
    drawn = new_figure(WIDTH, 2.9)
    left, right = drawn.subplots(1, 2)
    for (name, found), colour in zip(toys.items(), (GREEN, BLUE, ORANGE), strict=True):
        _draw_bounds(left, found, colour, f"z from {name}")
    left.axhline(log_evidence(), color=BLACK, linewidth=0.8, linestyle=":", label="log p(x), exact")
    left.set(title="a toy whose log p(x) is known", ylabel="bound (nats)", ylim=(-3.2, -1.8))
    _draw_bounds(right, ours, BLUE, "z from q(z|x)")
    _draw_bounds(right, blind, ORANGE, "z from p(z)")
    right.set_title("test digits")
    for axes in (left, right):
        axes.set(xscale="log", xlabel="K, draws of z for each x")
        axes.legend(loc="lower right")
    return drawn


def _draw_bounds(axes: Axes, found: dict[int, float], colour: str, label: str) -> None:
    axes.plot(list(found), list(found.values()), "o-", color=colour, markersize=3, label=label)
