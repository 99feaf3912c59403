"""Figures of the aggregate posterior q(z) = E_x q(z|x) beside the prior p(z)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaelab.figures.draw.style import DATA_COLOUR, MODEL_COLOUR, WIDTH, new_figure, plot_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
PANEL_HEIGHT = 1.25  # inches
BINS = 30


class MarginalPanel(NamedTuple):
    """One real dimension of q(z) and p(z).

    Attributes:
        name: The title of the panel.
        q: Samples of q(z_d), (N,).
        p: Samples of p(z_d), (M,).
        points: Where the density is computed, (P,), ascending.
        density: p(z_d) at the points, (P,); None if it is unknown.
    """

    name: str
    q: np.ndarray
    p: np.ndarray
    points: np.ndarray
    density: np.ndarray | None = None


class FrequencyPanel(NamedTuple):
    """The relative frequencies of K categories or codes, which sum to 1.

    Attributes:
        name: The title of the panel.
        q: Frequencies in q(z), (K,).
        p: Frequencies in p(z), (K,).
    """

    name: str
    q: np.ndarray
    p: np.ndarray


AggregatePanel = MarginalPanel | FrequencyPanel


class AggregatePlane(NamedTuple):
    """q(z) and p(z) of two latent dimensions.

    Attributes:
        q: Samples of q(z), (N, 2).
        axis: The values of z_1 and of z_2 where the density is computed, (P,), ascending.
        density: p(z), (P, P), with z_2 along the rows and z_1 along the columns.
    """

    q: np.ndarray
    axis: np.ndarray
    density: np.ndarray


@plot_style()
def plot_aggregate(panels: Sequence[AggregatePanel]) -> Figure:
    """Plot a panel for each dimension: q(z_d) as a histogram or bars, p(z_d) as a line.

    The line is the density of p(z_d), or a histogram of its samples if the density is unknown.
    """
    figure, all_axes = _new_panel_figure(len(panels))
    for axes, panel in zip(all_axes, panels, strict=True):
        if isinstance(panel, MarginalPanel):
            _draw_histogram(axes, panel)
        else:
            _draw_frequencies(axes, panel)
        axes.set_title(panel.name, pad=3)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    legend = {}
    for axes in all_axes:
        handles, labels = axes.get_legend_handles_labels()
        legend |= dict(zip(labels, handles, strict=True))
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=len(legend))
    return figure


def _draw_histogram(axes: Axes, panel: MarginalPanel) -> None:
    edges = np.linspace(panel.points[0], panel.points[-1], BINS + 1)
    axes.hist(panel.q, edges, density=True, color=DATA_COLOUR, label="q(z), samples")
    if panel.density is not None:
        axes.plot(panel.points, panel.density, color=MODEL_COLOUR, linewidth=1.2, label="p(z)")
    else:
        line: Any = {"histtype": "step", "color": MODEL_COLOUR, "linewidth": 1.2}
        axes.hist(panel.p, edges, density=True, label="p(z), samples", **line)
    axes.set_xlim(edges[0], edges[-1])
    axes.locator_params(axis="x", nbins=4)


def _draw_frequencies(axes: Axes, panel: FrequencyPanel) -> None:
    axes.stairs(panel.q, fill=True, color=DATA_COLOUR, label="q(z), samples")
    axes.stairs(panel.p, baseline=None, color=MODEL_COLOUR, linewidth=1.2, label="p(z)")
    axes.set_xticks([])


@plot_style()
def plot_code_usage(usage: FrequencyPanel) -> Figure:
    """Plot the relative frequency of each code of a codebook, in descending order of q(z)."""
    figure = new_figure(WIDTH, 2.6)
    axes = figure.add_subplot()
    order = np.argsort(-usage.q, kind="stable")
    size = len(order)
    label = f"q(z), perplexity {_compute_perplexity(usage.q):.1f} of {size}"
    axes.stairs(usage.q[order], fill=True, color=DATA_COLOUR, label=label)
    label = f"p(z), perplexity {_compute_perplexity(usage.p):.1f}"
    axes.stairs(usage.p[order], baseline=None, color=MODEL_COLOUR, linewidth=1, label=label)
    axes.set_yscale("log")
    axes.set_ylim(bottom=min(part[part > 0].min() for part in (usage.q, usage.p)) / 2)
    xlabel = "codes of the codebook, sorted by frequency"
    axes.set(xlim=(0, size), xlabel=xlabel, ylabel="relative frequency")
    axes.legend()
    return figure


@plot_style()
def plot_aggregate_plane(plane: AggregatePlane) -> Figure:
    """Plot a histogram of samples of q(z) in two dimensions, with contours of p(z)."""
    figure = new_figure(4.4, 3.6)
    axes = figure.add_subplot()
    low, high = plane.axis[[0, -1]]
    bins = np.linspace(low, high, BINS + 1)
    counts, *_ = np.histogram2d(*plane.q.T, bins=(bins, bins), density=True)
    image = axes.pcolormesh(bins, bins, counts.T, cmap="cividis", vmin=0, rasterized=True)
    levels = _compute_contour_levels(plane.density, (0.95, 0.68, 0.3))
    axes.contour(plane.axis, plane.axis, plane.density, levels=levels, colors="white", linewidths=1)
    axes.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    axes.set_title("contours: 30, 68 and 95 % of the mass of p(z)")
    bar: Any = figure.colorbar(image, label="density of q(z)")
    bar.outline.set_visible(False)
    return figure


def _new_panel_figure(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with the axes of `count` panels, at most COLUMNS in a row."""
    rows = math.ceil(count / COLUMNS)
    columns = math.ceil(count / rows)
    figure = new_figure(max(WIDTH * columns / COLUMNS, 3.0), rows * PANEL_HEIGHT + 0.4)
    all_axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes in all_axes[count:]:
        axes.remove()
    return figure, all_axes[:count]


def _compute_perplexity(frequencies: np.ndarray) -> float:
    """Compute exp(entropy), which is K if all K frequencies are equal."""
    positive = frequencies[frequencies > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def _compute_contour_levels(density: np.ndarray, masses: Sequence[float]) -> np.ndarray:
    """Return the density level above which each probability mass lies, in ascending order.

    Arguments:
        density: The density on a regular grid.
        masses: Fractions of the total mass, in descending order.
    """
    heights = np.sort(density.flatten())[::-1]
    positions = np.searchsorted(heights.cumsum() / heights.sum(), masses)
    return np.unique(heights[positions.clip(max=len(heights) - 1)])
