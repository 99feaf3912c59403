"""Which latent dimensions are used, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vaelab.figures.draw.style import WIDTH, hide_frame, latent_symbol, new_figure, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 40  # rows that have room for their names
UNNAMED = 4.0  # inches of more rows


@plot_style()
def plot_kl_per_dimension(epochs: np.ndarray, kl: np.ndarray, names: Sequence[str]) -> Figure:
    """KL in nats of every dimension at every epoch, the dimension of the largest last KL on top.

    Arguments:
        epochs: (E,), rising.
        kl: (E, D).
        names: Of the D dimensions.
    """
    from matplotlib.ticker import MaxNLocator

    order = np.argsort(-kl[-1], kind="stable")
    height = max(2.0, len(names) * 0.16 + 0.7) if len(names) <= NAMED else UNNAMED
    drawn = new_figure(WIDTH, height)
    axes = drawn.add_subplot()
    edges = (_edges(epochs), np.arange(len(names) + 1) - 0.5)
    mesh = axes.pcolormesh(*edges, kl[:, order].T, cmap="viridis", vmin=0, rasterized=True)
    axes.invert_yaxis()
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(names) <= NAMED:
        axes.set_yticks(range(len(names)), [latent_symbol(list(names)[i]) for i in order.tolist()])
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(names)} latent dimensions, the largest last KL on top")
    hide_frame(axes)
    bar: Any = drawn.colorbar(mesh, label="KL (nats)")
    bar.outline.set_visible(False)
    return drawn


def _edges(epochs: np.ndarray) -> np.ndarray:
    """Where the columns of epochs (E,) begin and end, (E + 1,): halfway to the next."""
    middles = (epochs[1:] + epochs[:-1]) / 2
    first = epochs[0] - 0.5 if len(epochs) == 1 else 2 * epochs[0] - middles[0]
    last = epochs[-1] + 0.5 if len(epochs) == 1 else 2 * epochs[-1] - middles[-1]
    return np.concatenate([[first], middles, [last]])
