"""Note 2: the gradient of an expectation through the draws, and without them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.figures.draw.style import BLACK, BLUE, GREEN, ORANGE, WIDTH, new_figure, plot_style
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import some_of_each
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Function = Callable[[Tensor], Tensor]
X, MEAN, VARIANCE = 1.5, 1.0, 0.3  # the toy: E of log N(1.5; z, 1/4) over z from N(1, 0.3)
STEP = 1e-5  # of a central difference
DRAWS = 20_000
COUNTS = (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
COLOURS = {"through the draws": BLUE, "score": ORANGE, "score, baseline": GREEN}


def make_note(asked: NoteConfig) -> NoteResult:
    draws = asked.few(DRAWS, 100)
    with seeded_noise(Stream.EVALUATION, 0):
        toy = estimates(log_likelihood, *toy_normal(), torch.randn(draws, 1, dtype=torch.float64))
    run = asked.run("mlp", "trainer.max_epochs=10")
    run.vae.double()
    f, mean, sd = digit(run)
    with seeded_noise(Stream.EVALUATION, 1):
        e = torch.randn(draws, len(mean), dtype=torch.float64)
        direction = torch.randn(2 * len(mean), dtype=torch.float64)
    direction = direction / direction.norm()
    found = estimates(f, mean, sd, e)
    exact = toy_gradient()
    rows = [_row("toy, by the mean", name, each[:, 0]) for name, each in toy.items()]
    rows += [_row("a digit, 40 numbers", name, each @ direction) for name, each in found.items()]
    slope = difference(f, mean, sd, e, direction)
    through = (found["through the draws"] @ direction).mean().item()
    single = {
        "toy, exact": exact[0].item(),
        "a digit, central difference of the same draws": slope,
        "its relative distance to the gradient through them": abs(through / slope - 1),
    }
    return NoteResult(
        {"gradients": draw_note({n: g[:, 0] for n, g in toy.items()}, found)}, rows, single
    )


def _row(what: str, name: str, gradients: Tensor) -> dict:
    sd = gradients.std().item()
    mean = gradients.mean().item()
    return {
        "gradient of": what,
        "estimator": name,
        "mean": mean,
        "its standard error": sd / math.sqrt(len(gradients)),
        "sd of one draw": sd,
        "draws for 10 % error": math.ceil((10 * sd / mean) ** 2),
    }


def log_likelihood(z: Tensor) -> Tensor:
    """log N(X; z, 1/4) of z (K, 1)."""
    return -2 * (X - z[:, 0]).square() + math.log(4 / (2 * math.pi)) / 2


def toy_normal() -> tuple[Tensor, Tensor]:
    """Mean and deviation (1,) of q."""
    q = torch.tensor([MEAN, math.sqrt(VARIANCE)], dtype=torch.float64)
    return q[:1], q[1:]


def toy_gradient() -> Tensor:
    """E log N(X; z, 1/4) = -2 ((X - mean)^2 + sd^2) + constant, by mean and by sd."""
    return torch.tensor([4 * (X - MEAN), -4 * math.sqrt(VARIANCE)], dtype=torch.float64)


@torch.no_grad()
def digit(run: Run) -> tuple[Function, Tensor, Tensor]:
    """log p(x|z) of a test digit as a function of z (K, D), with mean and sd (D,) of q(z|x)."""
    x = some_of_each(run).double()[5:6]
    q = run.vae.encode(x)
    return lambda z: run.vae.decode(z).log_prob(x), q.mean[0], q.variance[0].sqrt()


def through_the_draws(f: Function, mean: Tensor, sd: Tensor, noise: Tensor) -> Tensor:
    """d f(mean + sd noise) / d(mean, sd) of each draw, (K, 2D) for noise (K, D).

    Arguments:
        f: From z (K, D) to (K,).
    """
    z = (mean + sd * noise).requires_grad_()
    (slope,) = torch.autograd.grad(f(z).sum(), z)
    return torch.cat([slope, slope * noise], -1)


def by_the_score(
    f: Function, mean: Tensor, sd: Tensor, noise: Tensor, baseline: bool = False
) -> Tensor:
    """f(z) d log N(z; mean, sd^2) / d(mean, sd) of each draw, (K, 2D): it asks for no slope of f.

    Arguments:
        baseline: Whether to take from f(z) its mean over the other draws, which changes no mean of
            the gradient, because that of the score is 0.
    """
    with torch.no_grad():
        values = f(mean + sd * noise)
    if baseline:
        values = values - (values.sum() - values) / (len(values) - 1)
    score = torch.cat([noise / sd, (noise.square() - 1) / sd], -1)
    return values.unsqueeze(-1) * score


def estimates(f: Function, mean: Tensor, sd: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """The gradients of each draw by each estimator, from the same noise."""
    return {
        "through the draws": through_the_draws(f, mean, sd, noise),
        "score": by_the_score(f, mean, sd, noise),
        "score, baseline": by_the_score(f, mean, sd, noise, baseline=True),
    }


@torch.no_grad()
def difference(f: Function, mean: Tensor, sd: Tensor, noise: Tensor, direction: Tensor) -> float:
    """The slope along `direction` (2D,) of the mean of f over these draws, without autograd."""
    by_mean, by_sd = direction.chunk(2)

    def value(step: float) -> Tensor:
        return f(mean + step * by_mean + (sd + step * by_sd) * noise).mean()

    return ((value(STEP) - value(-STEP)) / (2 * STEP)).item()


@plot_style()
def draw_note(toy: dict[str, Tensor], found: dict[str, Tensor]) -> Figure:
    """The gradients of single draws, and the error of the mean of K of them."""
    drawn = new_figure(WIDTH, 2.9)
    left, right = drawn.subplots(1, 2)
    for name, gradients in toy.items():
        left.hist(gradients, torch.linspace(-8, 18, 79), histtype="step", color=COLOURS[name])
    left.axvline(toy_gradient()[0].item(), color=BLACK, linewidth=0.8, linestyle=":")
    left.set(title="toy: gradients of single draws", xlabel="by the mean; dotted: exact", yticks=[])
    exact = found["through the draws"].mean(0)
    for name, gradients in found.items():
        _draw_errors(right, name, gradients, exact)
    right.axhline(1, color=BLACK, linewidth=0.8, linestyle=":")
    right.set(title="a digit: error of the mean of K draws", xlabel="K", ylabel="error / gradient")
    right.legend(loc="lower left", fontsize=7)
    return drawn


def _draw_errors(axes: Axes, name: str, gradients: Tensor, exact: Tensor) -> None:
    counts = [count for count in COUNTS if 10 * count <= len(gradients)]
    errors = []
    for count in counts:
        means = gradients[: len(gradients) // count * count].unflatten(0, (-1, count)).mean(1)
        errors.append(((means - exact).square().sum(1).mean().sqrt() / exact.norm()).item())
    axes.loglog(counts, errors, "o-", color=COLOURS[name], markersize=3, label=name)
