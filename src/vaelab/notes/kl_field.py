"""Note 13: show the gradient field of the KL, and how q(z) approaches p(z) during training."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from vaelab.distributions.normal import DiagonalNormal, StandardNormal
from vaelab.figures.draw.style import (
    BLACK,
    BLUE,
    PALETTE,
    SKY,
    VERMILLION,
    WIDTH,
    new_figure,
    plot_style,
)
from vaelab.metrics.aggregate import AggregatePosterior
from vaelab.notes.base import NoteConfig, NoteResult
from vaelab.notes.latent_moments import PosteriorSnapshot, read_snapshots
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CALLBACK = "+callbacks.latent_moments._target_=vaelab.notes.latent_moments.LatentMoments"
AXIS_LIMIT, POINTS = 6.0, 1500  # of the latent plane in the animation
DENSE_FRAMES = 12  # frames that are one epoch apart; later ones are two epochs apart
REDUCED_COLOURS = 48  # size of the palette that all frames share
TOY_X, TOY_VARIANCE = 1.5, 0.25  # the linear example x | z ~ N(z, 1/4)
SD_TICKS = (0.1, 0.2, 0.5, 1, 2, 4)


class KLDecomposition(NamedTuple):
    """The mean KL(q(z|x) || p(z)) of some images, and KL(q(z) || p(z)) of their mixture q(z).

    Both are in nats. Their difference is the mutual information I(x; z).
    """

    mean_kl: float
    marginal_kl: float


def make_note(config: NoteConfig) -> NoteResult:
    """Train with and without KL warmup, and decompose the KL after several epochs."""
    epochs = f"trainer.max_epochs={config.select(40, 1)}"
    overrides = ("latent_dim=2", "kl=warmup", "kl.period=640", epochs)
    warmup, labels = read_snapshots(config.train("warmup", *overrides, CALLBACK))
    overrides = ("latent_dim=2", "kl=constant", epochs)
    constant, _ = read_snapshots(config.train("constant", *overrides, CALLBACK))
    decompositions = [decompose_kl(snapshot) for snapshot in warmup]
    rows = [
        _make_row(name, snapshot)
        for name, snapshots in (("warmup", warmup), ("constant", constant))
        for snapshot in _select_snapshots(snapshots)
    ]
    frames = [
        draw_frame(warmup[: i + 1], decompositions[: i + 1], labels, warmup[-1].step)
        for i in range(len(warmup))
        if i < DENSE_FRAMES or i % 2 == 0
    ]
    palette = frames[-1].quantize(REDUCED_COLOURS, dither=Image.Dither.NONE)
    animation = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    return NoteResult({"field": draw_field(), "q-of-z": animation}, rows)


def _select_snapshots(snapshots: Sequence[PosteriorSnapshot]) -> list[PosteriorSnapshot]:
    """Select the first snapshot, those after 1, 5, 10 and 20 epochs, and the last."""
    epochs = (0, 1, 5, 10, 20, len(snapshots) - 1)
    return [snapshot for epoch, snapshot in enumerate(snapshots) if epoch in epochs]


def _make_row(name: str, snapshot: PosteriorSnapshot) -> dict:
    mean_kl, marginal_kl = decompose_kl(snapshot)
    return {
        "kl=": name,
        "step": snapshot.step,
        "weight": snapshot.kl_weight,
        "mean KL": mean_kl,
        "KL(q(z), p(z))": marginal_kl,
        "I(x; z)": mean_kl - marginal_kl,
    }


def decompose_kl(snapshot: PosteriorSnapshot) -> KLDecomposition:
    """Decompose the mean KL of some images, with one sample of each q(z|x).

    E KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || p(z))
    """
    q = DiagonalNormal(torch.from_numpy(snapshot.mean), torch.from_numpy(snapshot.sd).log())
    p = StandardNormal(torch.zeros(q.event_shape))
    with seeded_noise(Stream.EVALUATION):
        z = q.sample()
    information = (q.log_prob(z) - AggregatePosterior(q).log_prob(z)).mean().item()
    mean_kl = q.elementwise_kl(p).sum(-1).mean().item()
    return KLDecomposition(mean_kl, mean_kl - information)


def negative_kl_gradient(mean: Tensor, log_sd: Tensor) -> tuple[Tensor, Tensor]:
    """Compute minus the gradient of KL(N(mean, sd^2) || N(0, 1)) with respect to (mean, ln sd)."""
    return -mean, 1 - (2 * log_sd).exp()


def elbo_gradient(mean: Tensor, log_sd: Tensor, x: float) -> tuple[Tensor, Tensor]:
    """Compute the gradient of the ELBO of x with respect to (mean, ln sd).

    The model is x | z ~ N(z, TOY_VARIANCE) with z ~ N(0, 1).
    """
    by_mean, by_log_sd = negative_kl_gradient(mean, log_sd)
    return by_mean + (x - mean) / TOY_VARIANCE, by_log_sd - (2 * log_sd).exp() / TOY_VARIANCE


def exact_posterior(x: Tensor | float) -> tuple[Tensor | float, float]:
    """Compute mean and standard deviation of the exact posterior, where `elbo_gradient` is 0."""
    return x / (1 + TOY_VARIANCE), math.sqrt(TOY_VARIANCE / (1 + TOY_VARIANCE))


@plot_style()
def draw_field() -> Figure:
    """Draw the gradient fields of the KL and of one ELBO, and the mean of the exact posteriors."""
    figure = new_figure(WIDTH, 2.7)
    left, middle, right = figure.subplots(1, 3)
    mean, log_sd = (torch.linspace(-3, 3, 40), torch.linspace(math.log(0.1), math.log(4), 40))
    means, log_sds = torch.meshgrid(mean, log_sd, indexing="xy")
    _draw_stream(left, mean, log_sd, negative_kl_gradient(means, log_sds), (0.0, 0.0))
    m, s = exact_posterior(TOY_X)
    _draw_stream(middle, mean, log_sd, elbo_gradient(means, log_sds, TOY_X), (m, math.log(s)))
    left.set(title="descent on the KL", ylabel="sd of q(z|x)")
    middle.set_title(f"ascent on the ELBO of x = {TOY_X}")
    _draw_posteriors(right)
    return figure


def _draw_stream(axes: Axes, mean, log_sd, gradient, optimum: tuple) -> None:
    x, y, u, v = (values.numpy() for values in (mean, log_sd, *gradient))
    axes.streamplot(x, y, u, v, density=0.9, linewidth=0.7, color=BLUE)
    axes.plot(*optimum, "*", color=VERMILLION, markersize=10)
    axes.set(xlabel="mean of q(z|x)", xlim=(-3, 3), ylim=(math.log(0.1), math.log(4)))
    axes.set_yticks([math.log(sd) for sd in SD_TICKS], [f"{sd:g}" for sd in SD_TICKS])


def _draw_posteriors(axes: Axes) -> None:
    """Draw the exact posteriors of 20 x, and their mean.

    The x are the 2.5, 7.5, ... % quantiles of p(x) = N(0, 1 + TOY_VARIANCE).
    """
    z = torch.linspace(-3.2, 3.2, 300)
    levels = (torch.arange(20) + 0.5) / 20
    x = math.sqrt(1 + TOY_VARIANCE) * torch.special.ndtri(levels)
    mean, sd = exact_posterior(x)
    densities = torch.distributions.Normal(mean, sd).log_prob(z[:, None]).exp()
    axes.plot(z, densities / 20, color=SKY, linewidth=0.7)
    axes.plot(z, densities.mean(1), color=VERMILLION, label="their mean, q(z)")
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).exp()
    axes.plot(z, prior, "--", color=BLACK, linewidth=1, label="N(0, 1)")
    axes.set(title="q(z|x) / 20 of 20 x", xlabel="z", ylim=(0, 0.6), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.legend(loc="upper center", fontsize=7)


@plot_style()
def draw_frame(
    snapshots: Sequence[PosteriorSnapshot],
    decompositions: Sequence[KLDecomposition],
    labels: Tensor,
    last_step: int,
) -> Image.Image:
    """Draw one frame of the animation: samples of q(z), and KL(q(z) || p(z)) up to this step.

    Arguments:
        snapshots: Snapshots up to this frame; the samples come from the last one.
        decompositions: The decomposition of each snapshot.
        labels: Classes of the images, for the colours of the samples.
        last_step: End of the step axis.
    """
    figure = new_figure(5.6, 2.9)
    figure.set_dpi(100)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    _draw_samples(left, snapshots[-1], labels)
    steps = [snapshot.step for snapshot in snapshots]
    weights = [snapshot.kl_weight for snapshot in snapshots]
    marginal_kls = [decomposition.marginal_kl for decomposition in decompositions]
    right.plot(steps, marginal_kls, color=VERMILLION)
    right.plot(steps[-1], marginal_kls[-1], "o", color=VERMILLION, markersize=4)
    right.plot(steps, weights, "--", color=BLACK, linewidth=0.8)
    right.text(
        0.97,
        0.95,
        "KL(q(z)||p(z))",
        color=VERMILLION,
        ha="right",
        va="top",
        transform=right.transAxes,
    )
    right.text(0.97, 0.86, "weight of the KL", ha="right", va="top", transform=right.transAxes)
    right.set(xlim=(0, last_step), ylim=(0, 4), xlabel="optimizer step", ylabel="nats")
    return figure_to_image(figure)


def _draw_samples(axes: Axes, snapshot: PosteriorSnapshot, labels: Tensor) -> None:
    """Draw one sample of q(z|x) for each image, over circles with radius 1, 2 and 3."""
    from matplotlib.patches import Circle

    with seeded_noise(Stream.EVALUATION):
        z = snapshot.mean + snapshot.sd * torch.randn(snapshot.mean.shape).numpy()
    x, y = z[:POINTS].T
    axes.scatter(x, y, 4, [PALETTE[label % 10] for label in labels[:POINTS]], linewidths=0)
    for radius in (1.0, 2.0, 3.0):
        axes.add_patch(Circle((0, 0), radius, fill=False, color=BLACK, linewidth=0.6))
    axes.set(
        xlim=(-AXIS_LIMIT, AXIS_LIMIT),
        ylim=(-AXIS_LIMIT, AXIS_LIMIT),
        aspect="equal",
        xticks=(-4, 0, 4),
        yticks=(-4, 0, 4),
    )
    axes.set_title(f"q(z) after {snapshot.step} steps")


def figure_to_image(figure: Figure) -> Image.Image:
    """Render a figure to an RGB image."""
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="png", dpi=figure.dpi)
        with Image.open(buffer) as file:
            return file.convert("RGB")
