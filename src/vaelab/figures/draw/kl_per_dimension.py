"""Figure of the KL of each latent dimension over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vaelab.figures.draw.style import (
    WIDTH,
    format_latent_symbol,
    hide_frame,
    new_figure,
    plot_style,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NAMED_ROWS = 40  # more rows have no room for names
UNNAMED_HEIGHT = 4.0  # inches of a figure without names


@plot_style()
def plot_kl_per_dimension(epochs: np.ndarray, kl: np.ndarray, names: Sequence[str]) -> Figure:
    """Plot the KL of every dimension at every epoch as colours, sorted by the last KL.

    Arguments:
        epochs: (E,), ascending.
        kl: Nats, (E, D).
        names: The names of the D dimensions, such as z1.
    """
    from matplotlib.ticker import MaxNLocator

    order = np.argsort(-kl[-1], kind="stable")
    has_names = len(names) <= MAX_NAMED_ROWS
    height = max(2.0, len(names) * 0.16 + 0.7) if has_names else UNNAMED_HEIGHT
    figure = new_figure(WIDTH, height)
    axes = figure.add_subplot()
    edges = (_compute_column_edges(epochs), np.arange(len(names) + 1) - 0.5)
    mesh = axes.pcolormesh(*edges, kl[:, order].T, cmap="viridis", vmin=0, rasterized=True)
    axes.invert_yaxis()
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if has_names:
        symbols = [format_latent_symbol(list(names)[i]) for i in order.tolist()]
        axes.set_yticks(range(len(names)), symbols)
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(names)} latent dimensions, sorted by last KL")
    hide_frame(axes)
    bar: Any = figure.colorbar(mesh, label="KL (nats)")
    bar.outline.set_visible(False)
    return figure


def _compute_column_edges(epochs: np.ndarray) -> np.ndarray:
    """Return the edges (E + 1,) of the columns of epochs (E,), halfway between neighbours."""
    middles = (epochs[1:] + epochs[:-1]) / 2
    first = epochs[0] - 0.5 if len(epochs) == 1 else 2 * epochs[0] - middles[0]
    last = epochs[-1] + 0.5 if len(epochs) == 1 else 2 * epochs[-1] - middles[-1]
    return np.concatenate([[first], middles, [last]])
