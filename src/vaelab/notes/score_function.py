"""Note 2: compare the reparameterized gradient of an expectation with the score function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.figures.draw.style import BLACK, BLUE, GREEN, ORANGE, WIDTH, new_figure, plot_style
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.digits import first_images_of_each_class
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Function = Callable[[Tensor], Tensor]
# The toy is E[log N(1.5; z, 1/4)] over z from N(1, 0.3), where 0.3 is the variance.
TOY_X, TOY_MEAN, TOY_VARIANCE = 1.5, 1.0, 0.3
DIFFERENCE_STEP = 1e-5  # step of the central difference
SAMPLES = 20_000
SAMPLE_COUNTS = (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
REPARAMETERIZED = "reparameterized"
COLOURS = {REPARAMETERIZED: BLUE, "score function": ORANGE, "score function, baseline": GREEN}


def make_note(config: NoteConfig) -> NoteResult:
    """Compare the estimators on a toy and on log p(x|z) of a digit under a trained VAE."""
    samples = config.select(SAMPLES, 100)
    with seeded_noise(Stream.EVALUATION, 0):
        noise = torch.randn(samples, 1, dtype=torch.float64)
        toy = estimate_gradients(toy_log_likelihood, *toy_mean_and_sd(), noise)
    run = config.train_and_open("mlp", "trainer.max_epochs=10")
    run.vae.double()
    f, mean, sd = digit_log_likelihood(run)
    with seeded_noise(Stream.EVALUATION, 1):
        noise = torch.randn(samples, len(mean), dtype=torch.float64)
        direction = torch.randn(2 * len(mean), dtype=torch.float64)
    direction = direction / direction.norm()
    digit = estimate_gradients(f, mean, sd, noise)
    exact = exact_toy_gradient()
    rows = [
        _make_row("toy, with respect to the mean", name, gradients[:, 0])
        for name, gradients in toy.items()
    ]
    rows += [
        _make_row("a digit, 40 components", name, gradients @ direction)
        for name, gradients in digit.items()
    ]
    difference = central_difference(f, mean, sd, noise, direction)
    derivative = (digit[REPARAMETERIZED] @ direction).mean().item()
    numbers = {
        "toy, exact": exact[0].item(),
        "a digit, central difference with the same samples": difference,
        "its relative difference from the reparameterized gradient": abs(
            derivative / difference - 1
        ),
    }
    toy_by_mean = {name: gradients[:, 0] for name, gradients in toy.items()}
    return NoteResult({"gradients": draw_gradients(toy_by_mean, digit)}, rows, numbers)


def _make_row(function: str, estimator: str, gradients: Tensor) -> dict:
    """Summarise the one-sample gradients (K,) of one estimator."""
    sd = gradients.std().item()
    mean = gradients.mean().item()
    return {
        "gradient of": function,
        "estimator": estimator,
        "mean": mean,
        "its standard error": sd / math.sqrt(len(gradients)),
        "sd of one sample": sd,
        "samples for 10 % error": math.ceil((10 * sd / mean) ** 2),
    }


def toy_log_likelihood(z: Tensor) -> Tensor:
    """Compute log N(TOY_X; z, 1/4) for z (K, 1)."""
    return -2 * (TOY_X - z[:, 0]).square() + math.log(4 / (2 * math.pi)) / 2


def toy_mean_and_sd() -> tuple[Tensor, Tensor]:
    """Return the mean (1,) and the standard deviation (1,) of the toy's q."""
    q = torch.tensor([TOY_MEAN, math.sqrt(TOY_VARIANCE)], dtype=torch.float64)
    return q[:1], q[1:]


def exact_toy_gradient() -> Tensor:
    """Compute the exact gradient (2,) of the toy with respect to (mean, sd).

    E[log N(x; z, 1/4)] = -2 ((x - mean)^2 + sd^2) + constant
    """
    return torch.tensor([4 * (TOY_X - TOY_MEAN), -4 * math.sqrt(TOY_VARIANCE)], dtype=torch.float64)


@torch.no_grad()
def digit_log_likelihood(run: RunParts) -> tuple[Function, Tensor, Tensor]:
    """Return log p(x|z) of a test digit as a function of z (K, D), and mean and sd of q(z|x).

    Returns:
        The function from (K, D) to (K,), the mean (D,) and the standard deviation (D,).
    """
    x = first_images_of_each_class(run).double()[5:6]
    q = run.vae.encode(x)
    return lambda z: run.vae.decode(z).log_prob(x), q.mean[0], q.variance[0].sqrt()


def reparameterized_gradient(f: Function, mean: Tensor, sd: Tensor, noise: Tensor) -> Tensor:
    """Compute the gradient of f(mean + sd * noise) with respect to (mean, sd), for each sample.

    Arguments:
        f: Differentiable function from z (K, D) to (K,).
        mean, sd: Parameters of q, each (D,).
        noise: Samples (K, D) of N(0, I).

    Returns:
        One gradient per sample, (K, 2D).
    """
    z = (mean + sd * noise).requires_grad_()
    (slope,) = torch.autograd.grad(f(z).sum(), z)
    return torch.cat([slope, slope * noise], -1)


def score_function_gradient(
    f: Function, mean: Tensor, sd: Tensor, noise: Tensor, baseline: bool = False
) -> Tensor:
    """Compute f(z) * grad log N(z; mean, sd^2) with respect to (mean, sd), for each sample.

    The estimator (REINFORCE) does not differentiate f.

    Arguments:
        f: Function from z (K, D) to (K,).
        mean, sd: Parameters of q, each (D,).
        noise: Samples (K, D) of N(0, I).
        baseline: If True, subtract from f(z) its mean over the other samples. The expectation
            stays the same because the score has mean 0.

    Returns:
        One gradient per sample, (K, 2D).
    """
    with torch.no_grad():
        values = f(mean + sd * noise)
    if baseline:
        values = values - (values.sum() - values) / (len(values) - 1)
    score = torch.cat([noise / sd, (noise.square() - 1) / sd], -1)
    return values.unsqueeze(-1) * score


def estimate_gradients(f: Function, mean: Tensor, sd: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """Compute the one-sample gradients (K, 2D) of each estimator from the same noise (K, D)."""
    return {
        REPARAMETERIZED: reparameterized_gradient(f, mean, sd, noise),
        "score function": score_function_gradient(f, mean, sd, noise),
        "score function, baseline": score_function_gradient(f, mean, sd, noise, baseline=True),
    }


@torch.no_grad()
def central_difference(
    f: Function, mean: Tensor, sd: Tensor, noise: Tensor, direction: Tensor
) -> float:
    """Compute the directional derivative of the sample mean of f without autograd.

    Arguments:
        direction: Unit vector (2D,) in the space of (mean, sd).
    """
    by_mean, by_sd = direction.chunk(2)

    def value(step: float) -> Tensor:
        return f(mean + step * by_mean + (sd + step * by_sd) * noise).mean()

    return ((value(DIFFERENCE_STEP) - value(-DIFFERENCE_STEP)) / (2 * DIFFERENCE_STEP)).item()


@plot_style()
def draw_gradients(toy: dict[str, Tensor], digit: dict[str, Tensor]) -> Figure:
    """Draw the one-sample gradients of the toy, and the error of K-sample means for the digit.

    Arguments:
        toy: Derivatives with respect to the mean, (K,) for each estimator.
        digit: Gradients (K, 2D) for each estimator.
    """
    figure = new_figure(WIDTH, 2.9)
    left, right = figure.subplots(1, 2)
    for name, gradients in toy.items():
        left.hist(gradients, torch.linspace(-8, 18, 79), histtype="step", color=COLOURS[name])
    left.axvline(exact_toy_gradient()[0].item(), color=BLACK, linewidth=0.8, linestyle=":")
    left.set(
        title="toy: gradients from single samples",
        xlabel="derivative w.r.t. the mean (dotted: exact)",
        yticks=[],
    )
    exact = digit[REPARAMETERIZED].mean(0)
    for name, gradients in digit.items():
        _draw_errors(right, name, gradients, exact)
    right.axhline(1, color=BLACK, linewidth=0.8, linestyle=":")
    right.set(title="a digit: error of the mean of K samples", xlabel="K", ylabel="relative error")
    right.legend(loc="lower left", fontsize=7)
    return figure


def _draw_errors(axes: Axes, name: str, gradients: Tensor, exact: Tensor) -> None:
    """Draw the relative root mean squared error of the mean of K gradients against K."""
    counts = [count for count in SAMPLE_COUNTS if 10 * count <= len(gradients)]
    errors = []
    for count in counts:
        means = gradients[: len(gradients) // count * count].unflatten(0, (-1, count)).mean(1)
        errors.append(((means - exact).square().sum(1).mean().sqrt() / exact.norm()).item())
    axes.loglog(counts, errors, "o-", color=COLOURS[name], markersize=3, label=name)
