"""The aggregate posterior q(z) = E_x q(z|x) beside the prior p(z)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaelab.figures.draw.style import BLACK, SKY, WIDTH, new_figure, plot_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
PANEL = 1.25  # inches
BINS = 30


class MarginalPanel(NamedTuple):
    """Draws of one dimension (N,) of q(z), and of p(z) (M,) with its density at points (P,)."""

    name: str
    q: np.ndarray
    p: np.ndarray
    points: np.ndarray
    density: np.ndarray | None = None


class SharesPanel(NamedTuple):
    """How often each of K categories or codes is chosen, (K,), adding up to 1."""

    name: str
    q: np.ndarray
    p: np.ndarray


Panel = MarginalPanel | SharesPanel


class AggregatePlane(NamedTuple):
    """Draws (N, 2) of q(z), and p(z) (P, P) where both dimensions take the values of `axis` (P,).

    z_1 rises along the columns.
    """

    q: np.ndarray
    axis: np.ndarray
    density: np.ndarray


@plot_style()
def plot_aggregate(panels: Sequence[Panel]) -> Figure:
    """A panel for each dimension: numbers as a histogram, categories as bars, p(z) as a line.

    Where the density of p(z) is not known the line is a histogram of its draws.
    """
    drawn, room = _grid(len(panels))
    for axes, panel in zip(room, panels, strict=True):
        if isinstance(panel, MarginalPanel):
            _draw_numbers(axes, panel)
        else:
            _draw_shares(axes, panel)
        axes.set_title(panel.name, pad=3)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    named = {}
    for axes in room:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    drawn.legend(named.values(), named.keys(), loc="outside lower center", ncols=len(named))
    return drawn


def _draw_numbers(axes: Axes, panel: MarginalPanel) -> None:
    edges = np.linspace(panel.points[0], panel.points[-1], BINS + 1)
    axes.hist(panel.q, edges, density=True, color=SKY, label="q(z), draws")
    if panel.density is not None:
        axes.plot(panel.points, panel.density, color=BLACK, linewidth=1.2, label="p(z)")
    else:
        line: Any = {"histtype": "step", "color": BLACK, "linewidth": 1.2, "label": "p(z), draws"}
        axes.hist(panel.p, edges, density=True, **line)
    axes.set_xlim(edges[0], edges[-1])
    axes.locator_params(axis="x", nbins=4)


def _draw_shares(axes: Axes, panel: SharesPanel) -> None:
    axes.stairs(panel.q, fill=True, color=SKY, label="q(z), draws")
    axes.stairs(panel.p, baseline=None, color=BLACK, linewidth=1.2, label="p(z)")
    axes.set_xticks([])


@plot_style()
def plot_code_usage(codes: SharesPanel) -> Figure:
    """How often each code of a codebook is used, the most used first."""
    drawn = new_figure(WIDTH, 2.6)
    axes = drawn.add_subplot()
    order = np.argsort(-codes.q, kind="stable")
    many = len(order)
    label = f"q(z), perplexity {_perplexity(codes.q):.1f} of {many}"
    axes.stairs(codes.q[order], fill=True, color=SKY, label=label)
    label = f"p(z), perplexity {_perplexity(codes.p):.1f}"
    axes.stairs(codes.p[order], baseline=None, color=BLACK, linewidth=1, label=label)
    axes.set_yscale("log")
    axes.set_ylim(bottom=min(each[each > 0].min() for each in (codes.q, codes.p)) / 2)
    axes.set(xlim=(0, many), xlabel="codes, the most used first", ylabel="share of all codes")
    axes.legend()
    return drawn


@plot_style()
def plot_aggregate_plane(plane: AggregatePlane) -> Figure:
    """The density of the draws of q(z), with contours of p(z) over it."""
    drawn = new_figure(4.4, 3.6)
    axes = drawn.add_subplot()
    low, high = plane.axis[[0, -1]]
    bins = np.linspace(low, high, BINS + 1)
    counts, *_ = np.histogram2d(*plane.q.T, bins=(bins, bins), density=True)
    image = axes.pcolormesh(bins, bins, counts.T, cmap="cividis", vmin=0, rasterized=True)
    levels = _levels(plane.density, (0.95, 0.68, 0.3))
    axes.contour(plane.axis, plane.axis, plane.density, levels=levels, colors="white", linewidths=1)
    axes.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    axes.set_title("lines: what holds 30, 68 and 95 % of p(z)")
    bar: Any = drawn.colorbar(image, label="density of q(z)")
    bar.outline.set_visible(False)
    return drawn


def _grid(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with room for so many panels, in rows of COLUMNS."""
    rows, columns = math.ceil(count / COLUMNS), min(count, COLUMNS)
    drawn = new_figure(max(WIDTH * columns / COLUMNS, 3.0), rows * PANEL + 0.4)
    room = drawn.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes in room[count:]:
        axes.remove()
    return drawn, room[:count]


def _perplexity(shares: np.ndarray) -> float:
    """exp(entropy), which is K where all K are alike."""
    some = shares[shares > 0]
    return float(np.exp(-(some * np.log(some)).sum()))


def _levels(density: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The heights above which each of these shares lies, the largest share first."""
    heights = np.sort(density.flatten())[::-1]
    below = np.searchsorted(heights.cumsum() / heights.sum(), shares)
    return np.unique(heights[below.clip(max=len(heights) - 1)])
