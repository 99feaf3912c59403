"""Note 10: fit a normal to a mixture of two normals by the forward and by the reverse KL."""

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

QUADRATURE_REACH, QUADRATURE_NODES = 12.0, 4801  # half-width in standard deviations, and points
LBFGS_SETTINGS: Any = {"max_iter": 200, "tolerance_grad": 1e-12, "tolerance_change": 1e-14}
FAR_DISTANCE, NEAR_DISTANCE = 3.0, 2.0  # distance of each bump from 0
SAMPLES = 24
KERNEL_WIDTHS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)  # of the kernel density estimate of p


class NormalFit(NamedTuple):
    """A fitted normal q = N(mean, sd^2) and its KL divergence in nats."""

    mean: float
    sd: float
    kl: float


def make_note(config: NoteConfig) -> NoteResult:
    """Fit a normal to far and to near bumps, and to samples of the far ones."""
    far, near = two_bump_centres(FAR_DISTANCE), two_bump_centres(NEAR_DISTANCE)
    fits = {
        ("3 sd", "forward"): minimize_forward_kl(far),
        ("3 sd", "reverse, from 3"): minimize_reverse_kl(far, FAR_DISTANCE),
        ("3 sd", "reverse, from -3"): minimize_reverse_kl(far, -FAR_DISTANCE),
        ("3 sd", "reverse, from 0"): minimize_reverse_kl(far, 0.0),
        ("2 sd", "forward"): minimize_forward_kl(near),
        ("2 sd", "reverse, from 2"): minimize_reverse_kl(near, NEAR_DISTANCE),
        ("2 sd", "reverse, from 0"): minimize_reverse_kl(near, 0.0),
    }
    rows = [_make_row(f"bumps {p} from 0", name, fit) for (p, name), fit in fits.items()]
    samples = sample_two_bumps()
    starts = samples[: config.select(SAMPLES, 2)]
    kernel_fits = {width: best_reverse_fit(samples, width, starts) for width in KERNEL_WIDTHS}
    for width, fit in kernel_fits.items():
        p = f"{SAMPLES} samples, kernels of width {width}"
        rows.append(_make_row(p, "reverse, best of all starts", fit))
    forward = minimize_forward_kl(samples, 0.0)
    rows.append(_make_row(f"{SAMPLES} samples, no kernels", "forward", forward))
    figures = {"fits": draw_fits(fits), "landscape": draw_landscape(fits, kernel_fits)}
    return NoteResult(figures, rows)


def _make_row(p: str, name: str, fit: NormalFit) -> dict[str, Any]:
    kl = fit.kl if math.isfinite(fit.kl) else "-"
    return {"p": p, "fit": name, "mean": round(fit.mean, 6) + 0.0, "sd": fit.sd, "KL (nats)": kl}


def log_normal(z: Tensor, mean: Tensor | float, sd: Tensor | float) -> Tensor:
    """Compute log N(z; mean, sd^2) elementwise."""
    sd = torch.as_tensor(sd, dtype=z.dtype)
    return -((z - mean) / sd).square() / 2 - sd.log() - HALF_LOG_TAU


def log_mixture(z: Tensor, centres: Tensor, width: float) -> Tensor:
    """Compute log p(z) of the equally weighted mixture of N(centre, width^2).

    Arguments:
        z: Points (...).
        centres: Means of the components, (K,).
        width: Standard deviation of each component.
    """
    components = log_normal(z.unsqueeze(-1), centres, width)
    return components.logsumexp(-1) - math.log(len(centres))


def two_bump_centres(distance: float) -> Tensor:
    """Return the means (2,) of 1/2 N(-distance, 1) + 1/2 N(distance, 1)."""
    return torch.tensor([-distance, distance], dtype=torch.float64)


def sample_two_bumps() -> Tensor:
    """Sample SAMPLES points of the far bumps, the same number from each."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(SAMPLES, generator=generator, dtype=torch.float64)
    return noise + two_bump_centres(FAR_DISTANCE).repeat(SAMPLES // 2)


def reverse_kl(mean: Tensor, sd: Tensor, centres: Tensor, width: float = 1.0) -> Tensor:
    """Compute KL(q || p) in nats by quadrature, for q = N(mean, sd^2) and the mixture p.

    Arguments:
        mean, sd: Parameters of q, scalar tensors.
        centres: Means of the components of p, (K,).
        width: Standard deviation of each component.
    """
    nodes = torch.linspace(
        -QUADRATURE_REACH, QUADRATURE_REACH, QUADRATURE_NODES, dtype=torch.float64
    )
    z = mean + sd * nodes
    log_q = log_normal(z, mean, sd)
    return torch.trapezoid(log_q.exp() * (log_q - log_mixture(z, centres, width)), z)


def forward_kl(mean: float, sd: float, centres: Tensor, width: float = 1.0) -> Tensor:
    """Compute KL(p || q) in nats by quadrature; the arguments are those of `reverse_kl`."""
    low, high = centres.min() - QUADRATURE_REACH * width, centres.max() + QUADRATURE_REACH * width
    z = torch.linspace(0, 1, QUADRATURE_NODES, dtype=torch.float64) * (high - low) + low
    log_p = log_mixture(z, centres, width)
    return torch.trapezoid(log_p.exp() * (log_p - log_normal(z, mean, sd)), z)


def minimize_forward_kl(centres: Tensor, width: float = 1.0) -> NormalFit:
    """Fit the normal that minimises KL(p || q): q has the mean and the variance of p.

    With width 0, p consists of the points alone; the fit exists, but the KL is infinite.
    """
    mean = centres.mean().item()
    sd = (centres.var(correction=0) + width**2).sqrt().item()
    return NormalFit(mean, sd, forward_kl(mean, sd, centres, width).item() if width else math.inf)


def minimize_reverse_kl(centres: Tensor, start: float, width: float = 1.0) -> NormalFit:
    """Fit a normal by minimising KL(q || p) with L-BFGS, starting from N(start, 1)."""
    parameters = torch.tensor([start, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], line_search_fn="strong_wolfe", **LBFGS_SETTINGS)

    def closure() -> Any:
        optimizer.zero_grad()
        kl = reverse_kl(parameters[0], parameters[1].exp(), centres, width)
        kl.backward()
        return kl

    optimizer.step(closure)
    mean, sd = parameters[0].detach(), parameters[1].detach().exp()
    return NormalFit(mean.item(), sd.item(), reverse_kl(mean, sd, centres, width).item())


def best_reverse_fit(samples: Tensor, width: float, starts: Tensor) -> NormalFit:
    """Fit a normal to a kernel density estimate by the reverse KL, and return the best minimum.

    Arguments:
        samples: Points (K,) at which the kernels are centred.
        width: Standard deviation of the kernels.
        starts: Means from which the search starts, in addition to 0.
    """
    fits = [minimize_reverse_kl(samples, start, width) for start in [0.0, *starts.tolist()]]
    return min(fits, key=lambda fit: fit.kl)


@plot_style()
def draw_fits(fits: dict[tuple[str, str], NormalFit]) -> Figure:
    """Draw p and the normals fitted to it: one row for each p, one column for each direction."""
    figure = new_figure(WIDTH, 3.6)
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    distances = (("3 sd", FAR_DISTANCE), ("2 sd", NEAR_DISTANCE))
    for row, (p, distance) in zip(panels, distances, strict=True):
        for axes, direction in zip(row, ("forward", "reverse"), strict=True):
            panel_fits = [
                fit for (fitted, name), fit in fits.items() if fitted == p and direction in name
            ]
            _draw_normals(axes, two_bump_centres(distance), panel_fits)
        row[0].set_ylabel(f"bumps {p} from 0")
    panels[0, 0].set_title("forward, KL(P||Q): cover everything")
    panels[0, 1].set_title("reverse, KL(Q||P): stay where P is")
    return figure


def _draw_normals(axes: Axes, centres: Tensor, fits: Sequence[NormalFit]) -> None:
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
def draw_landscape(
    fits: dict[tuple[str, str], NormalFit], kernel_fits: dict[float, NormalFit]
) -> Figure:
    """Draw KL(q || p) over (mean, sd) for both p, and the fit to samples against kernel width.

    Arguments:
        fits: The fits to both p, whose reverse fits are marked as minima.
        kernel_fits: Reverse fits to samples, by kernel width.
    """
    figure = new_figure(WIDTH, 2.7)
    *planes, last = figure.subplots(1, 3)
    distances = (("3 sd", FAR_DISTANCE), ("2 sd", NEAR_DISTANCE))
    for axes, (p, distance) in zip(planes, distances, strict=True):
        _draw_contours(axes, two_bump_centres(distance))
        minima = [fit for (fitted, name), fit in fits.items() if fitted == p and "reverse" in name]
        axes.scatter([fit.mean for fit in minima], [fit.sd for fit in minima], 30, VERMILLION, "*")
        axes.set(title=f"KL(Q||P), bumps {p} from 0", xlabel="mean of q")
    planes[0].set_ylabel("sd of q")
    sds = [fit.sd for fit in kernel_fits.values()]
    last.loglog(list(kernel_fits), sds, "o-", color=BLUE, markersize=4, label="reverse fit")
    forward = minimize_forward_kl(sample_two_bumps(), 0.0).sd
    last.axhline(forward, color=ORANGE, label="forward fit, no kernels")
    last.set(
        title=f"P known by {SAMPLES} samples",
        xlabel="width of the kernels",
        ylabel="sd of q",
        ylim=(0.01, 9),
    )
    last.legend(loc="lower right")
    return figure


def _draw_contours(axes: Axes, centres: Tensor) -> None:
    """Draw contour lines of KL(q || p) over the mean and the standard deviation of q."""
    means = torch.linspace(-4.5, 4.5, 61, dtype=torch.float64)
    sds = torch.linspace(0.4, 4, 46, dtype=torch.float64)
    kl = torch.stack([torch.stack([reverse_kl(m, s, centres) for m in means]) for s in sds])
    levels = torch.arange(-1.6, 2.8, 0.2).exp().tolist()
    axes.contour(means, sds, kl, levels=levels, cmap="cividis", linewidths=0.8)
