"""All figures of a run, in <run>/figures: `draw_all(run, folder)`, or scripts/figures.py.

vaelab.views finds what is to be seen and vaelab.figures draws it. A new figure is a function here
and its name in FIGURES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from vaelab.data.base import DataModule
from vaelab.figures.compute.aggregate import compute_code_usage, compute_panels, compute_plane
from vaelab.figures.compute.base import EncodedImages, FigureNotApplicable, encode_images
from vaelab.figures.compute.dimensions import Dimension, kl_by_dimension, rank_dimensions
from vaelab.figures.compute.grids import compute_reconstructions, compute_samples
from vaelab.figures.compute.map import Projection, compute_cloud, compute_decoded_plane
from vaelab.figures.compute.traversals import compute_traversals
from vaelab.figures.compute.walks import compute_walks
from vaelab.figures.draw.aggregate import plot_aggregate, plot_aggregate_plane, plot_code_usage
from vaelab.figures.draw.curves import plot_curves
from vaelab.figures.draw.kl_per_dimension import plot_kl_per_dimension
from vaelab.figures.draw.map import plot_decoded_map, plot_latent_map
from vaelab.figures.draw.style import FORMATS, save_figure
from vaelab.figures.draw.traversals import plot_traversals
from vaelab.figures.draw.walks import plot_walks
from vaelab.inference.image_grid import image_grid, paired_grid
from vaelab.runs.history import KL_FILE, read_kl_history, read_metric_curves, steps_per_epoch
from vaelab.runs.run import Run
from vaelab.runtime.distributed import progress_bar
from vaelab.vae import VAE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 10  # of the grids
PAIRS = 6
TERMS = {"iw_bound": "bound", "elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}


def draw_all_figures(
    run: Run,
    folder: Path,
    only: Sequence[str] | None = None,
    format: str = "png",
    map: Projection = "pca",
) -> dict[str, Path]:
    """Write <folder>/figures/<name>.<format> of every figure; the paths by name.

    What has no meaning for the run is left out, and a line says why.

    Arguments:
        folder: Of the run, with its metrics.csv.
        only: Names from FIGURES; None is all.
        map: How more than two latent dimensions are brought into a plane.
    """
    names = list(FIGURES) if only is None else list(only)
    check_figure_names(names, format)
    shown = progress_bar(names, "drawing figures")
    paths, left_out = draw_figures(FigureInputs(run.vae, run.data, folder, map), shown, format)
    for reason, missing in left_out.items():
        print(f"left out: {', '.join(missing)}: {reason}")
    return paths


def check_figure_names(names: Iterable[str], format: str = "png") -> None:
    for name in names:
        if name not in FIGURES:
            raise ValueError(f"there is no figure {name}: choose from {', '.join(FIGURES)}")
    if format not in FORMATS:
        raise ValueError(f"there is no format {format}: choose from {', '.join(FORMATS)}")


def draw_figures(
    scene: FigureInputs, names: Iterable[str], format: str = "png"
) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """The paths of what was drawn, by name; what was left out, by reason."""
    folder = scene.folder / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    left_out: dict[str, list[str]] = {}
    for name in names:
        try:
            paths[name] = save_figure(FIGURES[name](scene), folder / f"{name}.{format}")
        except FigureNotApplicable as reason:
            left_out.setdefault(str(reason), []).append(name)
    return paths, left_out


@dataclass
class FigureInputs:
    """A model, its data and its run folder, with what several figures need of them."""

    vae: VAE
    data: DataModule
    folder: Path
    map: Projection = "pca"

    @cached_property
    def codes(self) -> EncodedImages:
        """Of test images."""
        return encode_images(self.vae, self.data, self.data.splits["test"])

    @cached_property
    def dimensions(self) -> list[Dimension]:
        """The most active first."""
        kl = kl_by_dimension(self.vae, self.data, self.data.splits["test"])
        return rank_dimensions(self.vae, self.codes, kl)


def draw_reconstructions(scene: FigureInputs) -> Image.Image:
    return paired_grid(*compute_reconstructions(scene.vae, scene.data, 4 * COLUMNS), COLUMNS)


def draw_samples(scene: FigureInputs) -> Image.Image:
    return image_grid(compute_samples(scene.vae, scene.data, COLUMNS**2), COLUMNS)


def draw_traversals(scene: FigureInputs) -> Figure:
    return plot_traversals(
        *compute_traversals(scene.vae, scene.data, scene.codes, scene.dimensions)
    )


def draw_walks(scene: FigureInputs) -> Figure:
    return plot_walks(*compute_walks(scene.vae, scene.data, scene.codes, PAIRS))


def draw_map(scene: FigureInputs) -> Figure:
    """With what the plane decodes to, where z is one."""
    points = compute_cloud(scene.vae, scene.data, scene.codes, scene.map)
    try:
        return plot_decoded_map(points, *compute_decoded_plane(scene.vae, scene.data, scene.codes))
    except FigureNotApplicable:
        return plot_latent_map(points)


def draw_kl_per_dimension(scene: FigureInputs) -> Figure:
    found = read_kl_history(scene.folder / KL_FILE)
    if not len(found.epochs):
        raise FigureNotApplicable("the KL of each dimension is not known, or was not recorded")
    return plot_kl_per_dimension(found.epochs + 1, found.kl, found.names)  # after so many epochs


def draw_aggregate(scene: FigureInputs) -> Figure:
    """In the plane, by dimension or by code."""
    if not scene.dimensions:
        return plot_code_usage(compute_code_usage(scene.vae, scene.codes))
    try:
        return plot_aggregate_plane(compute_plane(scene.vae, scene.codes))
    except FigureNotApplicable:
        return plot_aggregate(compute_panels(scene.vae, scene.codes, scene.dimensions))


def draw_curves(scene: FigureInputs) -> Figure:
    found = read_metric_curves(scene.folder / "metrics.csv")
    terms = {}
    for term, title in TERMS.items():
        stages = {s: found[f"{s}/{term}"] for s in ("train", "val") if f"{s}/{term}" in found}
        if stages:
            terms[title] = stages
    if not terms:
        raise FigureNotApplicable("there are no curves in metrics.csv, which logger=csv writes")
    return plot_curves(terms, steps_per_epoch(found))


GRIDS = ("reconstructions", "samples")  # that are cheap
FIGURES: dict[str, Callable[[FigureInputs], Figure | Image.Image]] = {
    "reconstructions": draw_reconstructions,
    "samples": draw_samples,
    "traversals": draw_traversals,
    "walks": draw_walks,
    "map": draw_map,
    "aggregate": draw_aggregate,
    "kl_per_dimension": draw_kl_per_dimension,
    "curves": draw_curves,
}
