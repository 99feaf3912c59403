"""The common look of all figures: colours that the colour-blind tell apart, sizes, saving.

matplotlib is imported where it is used, so that a command which draws nothing does not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Color Universal Design (Okabe and Ito, 2008), with two of Tol's muted colours for a tenth class
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, BLACK, YELLOW = "#56B4E9", "#CC79A7", "#000000", "#F0E442"
WINE, OLIVE = "#882255", "#999933"
PALETTE = (BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, BLACK, YELLOW, WINE, OLIVE)
WIDTH = 7.0  # inches
FORMATS = ("png", "svg", "pdf")
DPI = 150
LOOK: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "image.cmap": "viridis",
    "svg.hashsalt": "vaelab",  # the same figure is the same file
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Inside, what is drawn has this look; `@look()` is the same for a function."""
    import matplotlib

    with matplotlib.rc_context(LOOK):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, which makes room for its labels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), dpi=DPI, layout="compressed")
    FigureCanvasAgg(drawn)
    return drawn


def hide_frame(axes: Axes) -> None:
    """Neither frame nor marks, but labels stay."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def latent_symbol(name: str) -> str:
    """A name such as z12, or z1.2 of a layer, as it is printed: with a subscript."""
    return f"${name[0]}_{{{name[1:].replace('.', ',')}}}$"


@plot_style()
def save_figure(drawn: Figure | Image.Image, path: Path) -> Path:
    """Write a figure, or the pixels of a picture, in the format that the path ends in."""
    settings: dict[str, Any] = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    if isinstance(drawn, Image.Image) and path.suffix == ".png":
        drawn.save(path)
    elif isinstance(drawn, Image.Image):
        figure_of_image(drawn).savefig(path, **settings)
    else:
        drawn.savefig(path, **settings)
    return path


def figure_of_image(picture: Image.Image) -> Figure:
    """A figure of nothing but the picture."""
    drawn = new_figure(picture.width / DPI, picture.height / DPI)
    drawn.figimage(np.asarray(picture), resize=True)
    return drawn
