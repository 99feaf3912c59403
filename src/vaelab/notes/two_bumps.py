"""Note 10: one normal fitted to two bumps, by either direction of the KL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from vaelab.distributions.normal import HALF_LOG_TAU
from vaelab.figures.draw.style import BLUE, GREEN, ORANGE, VERMILLION, WIDTH, new_figure, plot_style
from vaelab.notes.base import NoteConfig, NoteResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REACH, NODES = 12.0, 4801  # of the quadrature, in deviations
TIGHT: Any = {"max_iter": 200, "tolerance_grad": 1e-12, "tolerance_change": 1e-14}
FAR, NEAR = 3.0, 2.0  # from 0 to a bump
SAMPLES = 24
WIDTHS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)  # of the kernels that stand for p


class Fit(NamedTuple):
    """q = N(mean, sd^2), and its divergence from p in nats."""

    mean: float
    sd: float
    kl: float


def make_note(asked: NoteConfig) -> NoteResult:
    far, near = two_bumps(FAR), two_bumps(NEAR)
    fits = {
        ("3 sd", "forward"): forward_fit(far),
        ("3 sd", "reverse, from 3"): reverse_fit(far, FAR),
        ("3 sd", "reverse, from -3"): reverse_fit(far, -FAR),
        ("3 sd", "reverse, from 0"): reverse_fit(far, 0.0),
        ("2 sd", "forward"): forward_fit(near),
        ("2 sd", "reverse, from 2"): reverse_fit(near, NEAR),
        ("2 sd", "reverse, from 0"): reverse_fit(near, 0.0),
    }
    rows = [_row(f"bumps {p} from 0", name, fit) for (p, name), fit in fits.items()]
    samples = drawn_samples()
    few = samples[: asked.few(SAMPLES, 2)]
    kernels = {width: from_samples(samples, width, few) for width in WIDTHS}
    rows += [
        _row(f"{SAMPLES} samples, kernels of width {width}", "reverse, the best found", fit)
        for width, fit in kernels.items()
    ]
    rows.append(_row(f"{SAMPLES} samples alone", "forward", forward_fit(samples, 0.0)))
    return NoteResult({"fits": draw_fits(fits), "landscape": draw_landscape(fits, kernels)}, rows)


def _row(p: str, name: str, fit: Fit) -> dict[str, Any]:
    kl = fit.kl if math.isfinite(fit.kl) else "-"
    return {"p": p, "fit": name, "mean": round(fit.mean, 6) + 0.0, "sd": fit.sd, "KL (nats)": kl}


def log_normal(z: Tensor, mean: Tensor | float, sd: Tensor | float) -> Tensor:
    sd = torch.as_tensor(sd, dtype=z.dtype)
    return -((z - mean) / sd).square() / 2 - sd.log() - HALF_LOG_TAU


def log_mixture(z: Tensor, centres: Tensor, width: float) -> Tensor:
    """log of the mean of N(z; centre, width^2) over the centres."""
    parts = log_normal(z.unsqueeze(-1), centres, width)
    return parts.logsumexp(-1) - math.log(len(centres))


def two_bumps(distance: float) -> Tensor:
    """The centres of 1/2 N(-distance, 1) + 1/2 N(distance, 1)."""
    return torch.tensor([-distance, distance], dtype=torch.float64)


def drawn_samples() -> Tensor:
    """SAMPLES draws of the two bumps that are FAR, as many of either."""
    chance = torch.Generator().manual_seed(0)
    noise = torch.randn(SAMPLES, generator=chance, dtype=torch.float64)
    return noise + two_bumps(FAR).repeat(SAMPLES // 2)


def reverse_kl(mean: Tensor, sd: Tensor, centres: Tensor, width: float = 1.0) -> Tensor:
    """KL(q || p) in nats, q = N(mean, sd^2) and p the mixture of N(centre, width^2)."""
    z = mean + sd * torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
    log_q = log_normal(z, mean, sd)
    return torch.trapezoid(log_q.exp() * (log_q - log_mixture(z, centres, width)), z)


def forward_kl(mean: float, sd: float, centres: Tensor, width: float = 1.0) -> Tensor:
    """KL(p || q) in nats, for the same."""
    low, high = centres.min() - REACH * width, centres.max() + REACH * width
    z = torch.linspace(0, 1, NODES, dtype=torch.float64) * (high - low) + low
    log_p = log_mixture(z, centres, width)
    return torch.trapezoid(log_p.exp() * (log_p - log_normal(z, mean, sd)), z)


def forward_fit(centres: Tensor, width: float = 1.0) -> Fit:
    """The minimum of KL(p || q): q has the mean and the variance of p, whatever p is.

    Samples alone are of width 0: the fit is there, and the KL is infinite.
    """
    mean = centres.mean().item()
    sd = (centres.var(correction=0) + width**2).sqrt().item()
    return Fit(mean, sd, forward_kl(mean, sd, centres, width).item() if width else math.inf)


def reverse_fit(centres: Tensor, start: float, width: float = 1.0) -> Fit:
    """The minimum of KL(q || p) that is reached from N(start, 1)."""
    place = torch.tensor([start, 0.0], dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([place], line_search_fn="strong_wolfe", **TIGHT)

    def step() -> Any:
        search.zero_grad()
        kl = reverse_kl(place[0], place[1].exp(), centres, width)
        kl.backward()
        return kl

    search.step(step)
    mean, sd = place[0].detach(), place[1].detach().exp()
    return Fit(mean.item(), sd.item(), reverse_kl(mean, sd, centres, width).item())


def from_samples(samples: Tensor, width: float, starts: Tensor) -> Fit:
    """The best reverse fit to kernels at samples, of those that are reached from the starts."""
    fits = [reverse_fit(samples, start, width) for start in [0.0, *starts.tolist()]]
    return min(fits, key=lambda fit: fit.kl)


@plot_style()
def draw_fits(fits: dict[tuple[str, str], Fit]) -> Figure:
    """p and the normals fitted to it: a row for each p, a column for each direction."""
    drawn = new_figure(WIDTH, 3.6)
    panels = drawn.subplots(2, 2, sharex=True, sharey=True)
    for row, (p, distance) in zip(panels, (("3 sd", FAR), ("2 sd", NEAR)), strict=True):
        for axes, direction in zip(row, ("forward", "reverse"), strict=True):
            some = [fit for (of, name), fit in fits.items() if of == p and direction in name]
            _draw_normals(axes, two_bumps(distance), some)
        row[0].set_ylabel(f"bumps {p} from 0")
    panels[0, 0].set_title("forward, KL(P||Q): cover everything")
    panels[0, 1].set_title("reverse, KL(Q||P): stay where P is")
    return drawn


def _draw_normals(axes: Axes, centres: Tensor, fits: Sequence[Fit]) -> None:
    z = torch.linspace(-8.5, 8.5, 600, dtype=torch.float64)
    axes.fill_between(z, log_mixture(z, centres, 1.0).exp(), color="#dddddd", linewidth=0)
    distinct = {(round(fit.mean, 3) + 0.0, round(fit.sd, 3)): fit for fit in fits}
    colours = (BLUE, GREEN, VERMILLION)
    for (mean, sd), colour in zip(distinct, colours, strict=False):
        fit = distinct[mean, sd]
        label = f"mean {mean:.3f}, sd {sd:.3f}\nKL {fit.kl:.4f}"
        axes.plot(z, log_normal(z, fit.mean, fit.sd).exp(), color=colour, label=label)
    axes.legend(loc="upper left", fontsize=6.5, handlelength=1)
    axes.set(ylim=(0, 0.75), yticks=[])
    axes.spines["left"].set_visible(False)


@plot_style()
def draw_landscape(fits: dict[tuple[str, str], Fit], kernels: dict[float, Fit]) -> Figure:
    """KL(q || p) over (mean, sd) for either p, and what becomes of the fit to samples."""
    drawn = new_figure(WIDTH, 2.7)
    *planes, last = drawn.subplots(1, 3)
    for axes, (p, distance) in zip(planes, (("3 sd", FAR), ("2 sd", NEAR)), strict=True):
        _draw_plane(axes, two_bumps(distance))
        minima = [fit for (of, name), fit in fits.items() if of == p and "reverse" in name]
        axes.scatter([fit.mean for fit in minima], [fit.sd for fit in minima], 30, VERMILLION, "*")
        axes.set(title=f"KL(Q||P), bumps {p} from 0", xlabel="mean of q")
    planes[0].set_ylabel("sd of q")
    sizes = [fit.sd for fit in kernels.values()]
    last.loglog(list(kernels), sizes, "o-", color=BLUE, markersize=4, label="reverse fit")
    forward = forward_fit(drawn_samples(), 0.0).sd
    last.axhline(forward, color=ORANGE, label="forward fit, no kernels")
    last.set(
        title=f"P known by {SAMPLES} samples",
        xlabel="width of the kernels",
        ylabel="sd of q",
        ylim=(0.01, 9),
    )
    last.legend(loc="lower right")
    return drawn


def _draw_plane(axes: Axes, centres: Tensor) -> None:
    means = torch.linspace(-4.5, 4.5, 61, dtype=torch.float64)
    sds = torch.linspace(0.4, 4, 46, dtype=torch.float64)
    kl = torch.stack([torch.stack([reverse_kl(m, s, centres) for m in means]) for s in sds])
    levels = torch.arange(-1.6, 2.8, 0.2).exp().tolist()
    axes.contour(means, sds, kl, levels=levels, cmap="cividis", linewidths=0.8)
