"""The figures of a run: `draw_all_figures(run, folder)` draws them into <run>/figures.

Each figure is a function that computes arrays with vaelab.figures.compute and plots them with
vaelab.figures.draw. To add a figure, write such a function and add its name to FIGURES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from vaelab.data.base import DataModule
from vaelab.figures.compute.aggregate import (
    compute_aggregate_panels,
    compute_aggregate_plane,
    compute_code_usage,
)
from vaelab.figures.compute.base import (
    EncodedImages,
    FigureNotApplicable,
    describe_tiles,
    encode_images,
)
from vaelab.figures.compute.columns import (
    MAX_HISTOGRAMS,
    MAX_LISTED,
    MAX_PAIRED,
    compute_column_samples,
    compute_reconstructed_columns,
)
from vaelab.figures.compute.dimensions import (
    LatentDimension,
    compute_kl_per_dimension,
    rank_dimensions,
)
from vaelab.figures.compute.grids import compute_reconstructions, compute_samples
from vaelab.figures.compute.layers import compute_layers
from vaelab.figures.compute.map import Projection, compute_decoded_plane, compute_latent_map
from vaelab.figures.compute.traversals import compute_traversals
from vaelab.figures.compute.walks import compute_walks
from vaelab.figures.draw.aggregate import plot_aggregate, plot_aggregate_plane, plot_code_usage
from vaelab.figures.draw.columns import (
    plot_column_histograms,
    plot_pairs,
    plot_reconstruction_table,
)
from vaelab.figures.draw.curves import plot_metric_curves
from vaelab.figures.draw.kl_per_dimension import plot_kl_per_dimension
from vaelab.figures.draw.layers import plot_layers
from vaelab.figures.draw.map import plot_decoded_map, plot_latent_map
from vaelab.figures.draw.style import FORMATS, save_figure
from vaelab.figures.draw.traversals import plot_traversals
from vaelab.figures.draw.walks import plot_walks
from vaelab.inference.image_grid import add_note, make_image_grid, make_paired_grid
from vaelab.models.ladder import Ladder
from vaelab.runs.history import KL_FILE, read_kl_history, read_metric_curves, steps_per_epoch
from vaelab.runs.run import RunParts
from vaelab.runtime.distributed import progress_bar
from vaelab.runtime.errors import UserError
from vaelab.runtime.metric_names import METRICS, NATS_PER_IMAGE, name_data
from vaelab.vae import VAE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID_COLUMNS = 10  # images in a row
MAX_PAIRS = 6  # rows of interpolations
CURVE_TERMS = ("iw_bound", "elbo", "reconstruction", "kl")


def draw_all_figures(
    run: RunParts,
    folder: Path,
    only: Sequence[str] | None = None,
    format: str = "png",
    map: Projection = "pca",
) -> dict[str, Path]:
    """Draw the figures of a run to <folder>/figures/<name>.<format>.

    Figures that have no meaning for the run are skipped, and the terminal shows the reason.

    Arguments:
        run: The run with its model and data.
        folder: The run folder, with its metrics.csv.
        only: Names from FIGURES; None draws all, and "layers" only of top-down hierarchies.
        format: One of FORMATS.
        map: How more than two latent dimensions are projected on the map.

    Returns:
        The paths of the figures by name.

    Raises:
        UserError: If a name or the format is unknown.
    """
    names = list(only) if only is not None else _list_figures(run)
    check_figure_names(names, format)
    bar = progress_bar(names, "drawing figures")
    paths, skipped = draw_figures(FigureInputs(run.vae, run.data, folder, map), bar, format)
    for reason, skipped_names in skipped.items():
        print(f"skipped {', '.join(skipped_names)}: {reason}")
    return paths


def _list_figures(run: RunParts) -> list[str]:
    """Return the names of the figures of a kind of data and of model."""
    names = list(FIGURES)
    if len(run.data.shape) > 1:
        names = [name for name in names if name not in TABLE_FIGURES]
    if not isinstance(run.vae, Ladder):
        names = [name for name in names if name not in LADDER_FIGURES]
    return names


def check_figure_names(names: Iterable[str], format: str = "png") -> None:
    """Check that all names are keys of FIGURES and that the format is one of FORMATS.

    Raises:
        UserError: If a name or the format is unknown.
    """
    for name in names:
        if name not in FIGURES:
            nearest = get_close_matches(name, FIGURES, 1)
            hint = f" (did you mean {nearest[0]}?)" if nearest else ""
            raise UserError(f"unknown figure {name}{hint}: choose from {', '.join(FIGURES)}")
    if format not in FORMATS:
        raise UserError(f"unknown format {format}: choose from {', '.join(FORMATS)}")


def draw_figures(
    inputs: FigureInputs, names: Iterable[str], format: str = "png"
) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """Draw figures to <run>/figures/<name>.<format>.

    Returns:
        The paths of the figures by name, and the names of the skipped figures by reason.
    """
    folder = inputs.folder / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    skipped: dict[str, list[str]] = {}
    for name in names:
        try:
            paths[name] = save_figure(FIGURES[name](inputs), folder / f"{name}.{format}")
        except FigureNotApplicable as reason:
            words = name_data(str(reason), inputs.data.shape)
            skipped.setdefault(words, []).append(name)
    return paths, skipped


@dataclass
class FigureInputs:
    """A model, its data and its run folder, and the arrays that several figures share.

    Attributes:
        map: How more than two latent dimensions are projected on the map.
    """

    vae: VAE
    data: DataModule
    folder: Path
    map: Projection = "pca"

    @property
    def noun(self) -> str:
        """What one x is called: image, row, series or volume."""
        return name_data("image", self.data.shape)

    @cached_property
    def note(self) -> str:
        """What a tile shows, empty for images in [0, 1]."""
        return describe_tiles(self.data)

    @cached_property
    def encoded(self) -> EncodedImages:
        """The encoded test images."""
        return encode_images(self.vae, self.data, self.data.splits["test"])

    @cached_property
    def dimensions(self) -> list[LatentDimension]:
        """The latent dimensions, the most active first."""
        kl = compute_kl_per_dimension(self.vae, self.data, self.data.splits["test"])
        return rank_dimensions(self.vae, self.encoded, kl)


def draw_reconstructions(inputs: FigureInputs) -> Figure | Image.Image:
    """Draw held-out images, each row above the row of its reconstructions.

    Of a table, draw the values of some test rows and of their reconstructions.
    """
    if len(inputs.data.shape) == 1:
        table = compute_reconstructed_columns(inputs.vae, inputs.data, MAX_LISTED)
        return plot_reconstruction_table(*table)
    pair = compute_reconstructions(inputs.vae, inputs.data, 4 * GRID_COLUMNS)
    grid = make_paired_grid(*pair, GRID_COLUMNS, _magnification(inputs.data))
    return add_note(grid, inputs.note)


def draw_samples(inputs: FigureInputs) -> Figure | Image.Image:
    """Draw a grid of the means of p(x|z) with z ~ p(z); histograms of the columns of a table."""
    if len(inputs.data.shape) == 1:
        columns = compute_column_samples(inputs.vae, inputs.data, MAX_HISTOGRAMS)
        return plot_column_histograms(columns)
    samples = compute_samples(inputs.vae, inputs.data, GRID_COLUMNS**2)
    grid = make_image_grid(samples, GRID_COLUMNS, _magnification(inputs.data))
    return add_note(grid, inputs.note)


def draw_pairs(inputs: FigureInputs) -> Figure:
    """Draw columns of a table against each other, of the data and of samples of the model."""
    return plot_pairs(compute_column_samples(inputs.vae, inputs.data, MAX_PAIRED))


def _magnification(data: DataModule) -> int:
    """Return the factor by which a grid is enlarged; lines of series are drawn large enough."""
    return 1 if len(data.shape) == 2 else 2


def draw_traversals(inputs: FigureInputs) -> Figure:
    """Draw latent traversals of the most active dimensions."""
    traversals = compute_traversals(inputs.vae, inputs.data, inputs.encoded, inputs.dimensions)
    return plot_traversals(*traversals, inputs.noun, inputs.note)


def draw_walks(inputs: FigureInputs) -> Figure:
    """Draw latent interpolations between pairs of images."""
    walks = compute_walks(inputs.vae, inputs.data, inputs.encoded, MAX_PAIRS)
    return plot_walks(*walks, inputs.noun, inputs.note)


def draw_map(inputs: FigureInputs) -> Figure:
    """Draw the latents in two dimensions, beside decoded images if the latent space is a plane."""
    latent_map = compute_latent_map(inputs.vae, inputs.data, inputs.encoded, inputs.map)
    try:
        plane = compute_decoded_plane(inputs.vae, inputs.data, inputs.encoded)
        return plot_decoded_map(latent_map, *plane, inputs.note)
    except FigureNotApplicable:
        return plot_latent_map(latent_map)


def draw_layers(inputs: FigureInputs) -> Figure:
    """Draw images whose layers are fixed from the top, and the KL of each layer."""
    return plot_layers(*compute_layers(inputs.vae, inputs.data))


def draw_kl_per_dimension(inputs: FigureInputs) -> Figure:
    """Draw the KL of each latent dimension by epoch, as KL_FILE has recorded it.

    Raises:
        FigureNotApplicable: If KL_FILE is missing or empty.
    """
    history = read_kl_history(inputs.folder / KL_FILE)
    if not len(history.epochs):
        raise FigureNotApplicable("the KL per dimension is unknown, or was not recorded")
    return plot_kl_per_dimension(history.epochs + 1, history.kl, history.names)  # epochs completed


def draw_aggregate(inputs: FigureInputs) -> Figure:
    """Draw q(z) against p(z): over the plane, for each dimension, or for each codebook entry."""
    if not inputs.dimensions:
        return plot_code_usage(compute_code_usage(inputs.vae, inputs.encoded))
    try:
        return plot_aggregate_plane(compute_aggregate_plane(inputs.vae, inputs.encoded))
    except FigureNotApplicable:
        panels = compute_aggregate_panels(inputs.vae, inputs.encoded, inputs.dimensions)
        return plot_aggregate(panels)


def draw_curves(inputs: FigureInputs) -> Figure:
    """Draw the curves of CURVE_TERMS in metrics.csv.

    Raises:
        FigureNotApplicable: If there is no metrics.csv, or it has none of them.
    """
    curves = read_metric_curves(inputs.folder / "metrics.csv")
    terms = {}
    for term in CURVE_TERMS:
        stages = {
            stage: curves[f"{stage}/{term}"]
            for stage in ("train", "val")
            if f"{stage}/{term}" in curves
        }
        if stages:
            terms[METRICS[term].name] = stages
    if not terms:
        raise FigureNotApplicable("metrics.csv has no curves, train with logger=csv to write them")
    unit = name_data(NATS_PER_IMAGE, inputs.data.shape)
    return plot_metric_curves(terms, steps_per_epoch(curves), unit)


LADDER_FIGURES = ("layers",)  # of top-down hierarchies only, likewise
TABLE_FIGURES = ("pairs",)  # of tables only; others do not name them as skipped
GRID_FIGURES = ("reconstructions", "samples")  # cheap enough to draw during the training
FIGURES: dict[str, Callable[[FigureInputs], Figure | Image.Image]] = {
    "reconstructions": draw_reconstructions,
    "samples": draw_samples,
    "pairs": draw_pairs,
    "traversals": draw_traversals,
    "walks": draw_walks,
    "map": draw_map,
    "aggregate": draw_aggregate,
    "layers": draw_layers,
    "kl_per_dimension": draw_kl_per_dimension,
    "curves": draw_curves,
}
