"""The common style of all figures: a colour-blind safe palette, sizes and saving.

Functions import matplotlib themselves, so that commands without figures do not wait for it.
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

# Color Universal Design (Okabe and Ito, 2008), plus two of Tol's muted colours
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, BLACK, YELLOW = "#56B4E9", "#CC79A7", "#000000", "#F0E442"
WINE, OLIVE = "#882255", "#999933"
PALETTE = (BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, BLACK, YELLOW, WINE, OLIVE)
DATA_COLOUR, MODEL_COLOUR = SKY, BLACK  # of data and q(z), and of samples of the model and p(z)
STAGE_COLOURS = {"train": SKY, "val": VERMILLION}  # of training and validation curves
WIDTH = 7.0  # inches
FORMATS = ("png", "svg", "pdf")
DPI = 150
RC_PARAMS: Any = {
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
    "svg.hashsalt": "vaelab",  # a fixed salt, so that equal figures are equal files
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Draw with RC_PARAMS inside a `with` block, or inside a function decorated `@plot_style()`."""
    import matplotlib

    with matplotlib.rc_context(RC_PARAMS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure with a size in inches and a layout that reserves space for labels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="compressed")
    FigureCanvasAgg(figure)
    return figure


def hide_frame(axes: Axes) -> None:
    """Hide the frame and the tick marks of axes, but not the tick labels."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def format_latent_symbol(name: str) -> str:
    """Return a name such as z12, or z1.2 of a layer, as math text with a subscript."""
    return f"${name[0]}_{{{name[1:].replace('.', ',')}}}$"


@plot_style()
def save_figure(figure: Figure | Image.Image, path: Path) -> Path:
    """Save a figure or an image in the format of the path's suffix, and return the path.

    A png of an image has exactly its pixels.
    """
    settings: dict[str, Any] = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    if isinstance(figure, Image.Image) and path.suffix == ".png":
        figure.save(path)
    elif isinstance(figure, Image.Image):
        make_figure_of_image(figure).savefig(path, **settings)
    else:
        figure.savefig(path, **settings)
    return path


def make_figure_of_image(image: Image.Image) -> Figure:
    """Return a figure that consists of the image alone."""
    figure = new_figure(image.width / DPI, image.height / DPI)
    figure.figimage(np.asarray(image), resize=True)
    return figure
