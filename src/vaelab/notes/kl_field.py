"""Note 13: where the KL pushes each q(z|x), and q(z) on its way to p(z)."""

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
from vaelab.notes.latent_moments import Moment, read_moments
from vaelab.runtime.seeding import Stream, seeded_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CALLBACK = "+callbacks.codes._target_=vaelab.notes.latent_moments.LatentMoments"
EDGE, DOTS = 6.0, 1500  # of the plane of an animation
CLOSE, COLOURS = 12, 48  # frames one epoch apart, later ones are two; colours of all
X, VARIANCE = 1.5, 0.25  # the linear example: x | z ~ N(z, 1/4)
SDS = (0.1, 0.2, 0.5, 1, 2, 4)


class Rates(NamedTuple):
    """In nats: the mean KL(q(z|x) || p(z)) of images, and KL(q(z) || p(z)) of their mixture q(z).

    Their difference is what a code tells of its image, I(x; z).
    """

    mean_kl: float
    marginal_kl: float


def make_note(asked: NoteConfig) -> NoteResult:
    epochs = asked.few(40, 1)
    words = ("latent_dim=2", "kl=warmup", "kl.period=640", f"trainer.max_epochs={epochs}")
    moments, labels = read_moments(asked.train("warmup", *words, CALLBACK))
    words = ("latent_dim=2", "kl=constant", f"trainer.max_epochs={epochs}")
    straight, _ = read_moments(asked.train("constant", *words, CALLBACK))
    found = [rates(moment) for moment in moments]
    rows = [
        _row(name, moment)
        for name, some in (("warmup", moments), ("constant", straight))
        for moment in _some(some)
    ]
    frames = [
        draw_moment(moments[: i + 1], found[: i + 1], labels, moments[-1].step)
        for i in range(len(moments))
        if i < CLOSE or i % 2 == 0
    ]
    colours = frames[-1].quantize(COLOURS, dither=Image.Dither.NONE)
    pictures = [each.quantize(palette=colours, dither=Image.Dither.NONE) for each in frames]
    return NoteResult({"field": draw_field(), "q-of-z": pictures}, rows)


def _some(moments: Sequence[Moment]) -> list[Moment]:
    """The first, those after 1, 5, 10 and 20 epochs, and the last."""
    return [each for i, each in enumerate(moments) if i in (0, 1, 5, 10, 20, len(moments) - 1)]


def _row(name: str, moment: Moment) -> dict:
    mean_kl, marginal_kl = rates(moment)
    row = {"kl=": name, "step": moment.step, "weight": moment.kl_weight, "mean KL": mean_kl}
    return row | {"KL(q(z), p(z))": marginal_kl, "I(x; z)": mean_kl - marginal_kl}


def rates(moment: Moment) -> Rates:
    """Of q(z|x) of some images; I(x; z) by one draw of each."""
    q = DiagonalNormal(torch.from_numpy(moment.mean), torch.from_numpy(moment.sd).log())
    p = StandardNormal(torch.zeros(q.event_shape))
    with seeded_noise(Stream.EVALUATION):
        z = q.sample()
    information = (q.log_prob(z) - AggregatePosterior(q).log_prob(z)).mean().item()
    mean_kl = q.kl(p).sum(-1).mean().item()
    return Rates(mean_kl, mean_kl - information)


def downhill(mean: Tensor, log_sd: Tensor) -> tuple[Tensor, Tensor]:
    """Minus the gradient of KL(N(mean, sd^2) || N(0, 1)) by mean and by ln sd."""
    return -mean, 1 - (2 * log_sd).exp()


def uphill(mean: Tensor, log_sd: Tensor, x: float) -> tuple[Tensor, Tensor]:
    """The gradient of the ELBO of x where x | z ~ N(z, VARIANCE): the KL's and what x says."""
    by_mean, by_log_sd = downhill(mean, log_sd)
    return by_mean + (x - mean) / VARIANCE, by_log_sd - (2 * log_sd).exp() / VARIANCE


def posterior(x: Tensor | float) -> tuple[Tensor | float, float]:
    """Mean and deviation where that gradient is 0, which is the exact posterior."""
    return x / (1 + VARIANCE), math.sqrt(VARIANCE / (1 + VARIANCE))


@plot_style()
def draw_field() -> Figure:
    """The pull of the KL, that of the ELBO of one x, and the mean of what they lead to."""
    drawn = new_figure(WIDTH, 2.7)
    left, middle, right = drawn.subplots(1, 3)
    mean, log_sd = (torch.linspace(-3, 3, 40), torch.linspace(math.log(0.1), math.log(4), 40))
    wide, high = torch.meshgrid(mean, log_sd, indexing="xy")
    _draw_stream(left, mean, log_sd, downhill(wide, high), (0.0, 0.0))
    m, s = posterior(X)
    _draw_stream(middle, mean, log_sd, uphill(wide, high, X), (m, math.log(s)))
    left.set(title="down the KL", ylabel="sd of q(z|x)")
    middle.set_title(f"up the ELBO of x = {X}")
    _draw_posteriors(right)
    return drawn


def _draw_stream(axes: Axes, mean, log_sd, slope, end: tuple) -> None:
    x, y, u, v = (each.numpy() for each in (mean, log_sd, *slope))
    axes.streamplot(x, y, u, v, density=0.9, linewidth=0.7, color=BLUE)
    axes.plot(*end, "*", color=VERMILLION, markersize=10)
    axes.set(xlabel="mean of q(z|x)", xlim=(-3, 3), ylim=(math.log(0.1), math.log(4)))
    axes.set_yticks([math.log(sd) for sd in SDS], [f"{sd:g}" for sd in SDS])


def _draw_posteriors(axes: Axes) -> None:
    """q(z|x) of x at the 2.5, 7.5, ... % quantiles of p(x) = N(0, 1 + VARIANCE), and their mean."""
    z = torch.linspace(-3.2, 3.2, 300)
    shares = (torch.arange(20) + 0.5) / 20
    x = math.sqrt(1 + VARIANCE) * torch.special.ndtri(shares)
    mean, sd = posterior(x)
    each = torch.distributions.Normal(mean, sd).log_prob(z[:, None]).exp()
    axes.plot(z, each / 20, color=SKY, linewidth=0.7)
    axes.plot(z, each.mean(1), color=VERMILLION, label="their mean, q(z)")
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).exp()
    axes.plot(z, prior, "--", color=BLACK, linewidth=1, label="N(0, 1)")
    axes.set(title="q(z|x) of 20 x, each / 20", xlabel="z", ylim=(0, 0.6), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.legend(loc="upper center", fontsize=7)


@plot_style()
def draw_moment(
    moments: Sequence[Moment], found: Sequence[Rates], labels: Tensor, last: int
) -> Image.Image:
    """Where q(z) is at the last of the moments, over circles of N(0, I), and the way so far."""
    drawn = new_figure(5.6, 2.9)
    drawn.set_dpi(100)
    left, right = drawn.subplots(1, 2, width_ratios=(1, 1))
    _draw_plane(left, moments[-1], labels)
    steps = [moment.step for moment in moments]
    right.plot(steps, [each.marginal_kl for each in found], color=VERMILLION)
    right.plot(steps[-1], found[-1].marginal_kl, "o", color=VERMILLION, markersize=4)
    right.plot(steps, [moment.kl_weight for moment in moments], "--", color=BLACK, linewidth=0.8)
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
    right.set(xlim=(0, last), ylim=(0, 4), xlabel="optimizer step", ylabel="nats")
    return picture(drawn)


def _draw_plane(axes: Axes, moment: Moment, labels: Tensor) -> None:
    from matplotlib.patches import Circle

    with seeded_noise(Stream.EVALUATION):
        z = moment.mean + moment.sd * torch.randn(moment.mean.shape).numpy()
    x, y = z[:DOTS].T
    axes.scatter(x, y, 4, [PALETTE[each % 10] for each in labels[:DOTS]], linewidths=0)
    for radius in (1.0, 2.0, 3.0):
        axes.add_patch(Circle((0, 0), radius, fill=False, color=BLACK, linewidth=0.6))
    axes.set(
        xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal", xticks=(-4, 0, 4), yticks=(-4, 0, 4)
    )
    axes.set_title(f"q(z) after {moment.step} steps")


def picture(drawn: Figure) -> Image.Image:
    """The pixels of a figure."""
    with io.BytesIO() as buffer:
        drawn.savefig(buffer, format="png", dpi=drawn.dpi)
        with Image.open(buffer) as file:
            return file.convert("RGB")
