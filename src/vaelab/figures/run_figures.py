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
from vaelab.figures.compute.aggregate import panels, planar, used
from vaelab.figures.compute.base import Codes, LeftOut, encoded
from vaelab.figures.compute.dimensions import Dimension, dimensions, kl_by_dimension
from vaelab.figures.compute.grids import reconstructed, sampled
from vaelab.figures.compute.map import Projection, cloud, decoded_plane
from vaelab.figures.compute.traversals import traversed
from vaelab.figures.compute.walks import walked
from vaelab.figures.draw.aggregate import aggregate, aggregate_plane, usage
from vaelab.figures.draw.curves import curves
from vaelab.figures.draw.kl_per_dimension import kl_per_dimension
from vaelab.figures.draw.map import decoded_map, latent_map
from vaelab.figures.draw.style import FORMATS, save
from vaelab.figures.draw.traversals import traversals
from vaelab.figures.draw.walks import walks
from vaelab.inference.image_grid import above_below, grid
from vaelab.runs.history import KL_FILE, read_kl, read_metrics, steps_per_epoch
from vaelab.runs.run import Run
from vaelab.runtime.distributed import progress
from vaelab.vae import VAE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 10  # of the grids
PAIRS = 6
TERMS = {"iw_bound": "bound", "elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}


def draw_all(
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
    check(names, format)
    shown = progress(names, "drawing figures")
    paths, left_out = draw(Scene(run.vae, run.data, folder, map), shown, format)
    for reason, missing in left_out.items():
        print(f"left out: {', '.join(missing)}: {reason}")
    return paths


def check(names: Iterable[str], format: str = "png") -> None:
    for name in names:
        if name not in FIGURES:
            raise ValueError(f"there is no figure {name}: choose from {', '.join(FIGURES)}")
    if format not in FORMATS:
        raise ValueError(f"there is no format {format}: choose from {', '.join(FORMATS)}")


def draw(
    scene: Scene, names: Iterable[str], format: str = "png"
) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """The paths of what was drawn, by name; what was left out, by reason."""
    folder = scene.folder / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    left_out: dict[str, list[str]] = {}
    for name in names:
        try:
            paths[name] = save(FIGURES[name](scene), folder / f"{name}.{format}")
        except LeftOut as reason:
            left_out.setdefault(str(reason), []).append(name)
    return paths, left_out


@dataclass
class Scene:
    """A model, its data and its run folder, with what several figures need of them."""

    vae: VAE
    data: DataModule
    folder: Path
    map: Projection = "pca"

    @cached_property
    def codes(self) -> Codes:
        """Of test images."""
        return encoded(self.vae, self.data, self.data.splits["test"])

    @cached_property
    def dimensions(self) -> list[Dimension]:
        """The most active first."""
        kl = kl_by_dimension(self.vae, self.data, self.data.splits["test"])
        return dimensions(self.vae, self.codes, kl)


def draw_reconstructions(scene: Scene) -> Image.Image:
    return above_below(*reconstructed(scene.vae, scene.data, 4 * COLUMNS), COLUMNS)


def draw_samples(scene: Scene) -> Image.Image:
    return grid(sampled(scene.vae, scene.data, COLUMNS**2), COLUMNS)


def draw_traversals(scene: Scene) -> Figure:
    return traversals(*traversed(scene.vae, scene.data, scene.codes, scene.dimensions))


def draw_walks(scene: Scene) -> Figure:
    return walks(*walked(scene.vae, scene.data, scene.codes, PAIRS))


def draw_map(scene: Scene) -> Figure:
    """With what the plane decodes to, where z is one."""
    points = cloud(scene.vae, scene.data, scene.codes, scene.map)
    try:
        return decoded_map(points, *decoded_plane(scene.vae, scene.data, scene.codes))
    except LeftOut:
        return latent_map(points)


def draw_kl_per_dimension(scene: Scene) -> Figure:
    found = read_kl(scene.folder / KL_FILE)
    if not len(found.epochs):
        raise LeftOut("the KL of each dimension is not known, or was not recorded")
    return kl_per_dimension(found.epochs + 1, found.kl, found.names)  # after so many epochs


def draw_aggregate(scene: Scene) -> Figure:
    """In the plane, by dimension or by code."""
    if not scene.dimensions:
        return usage(used(scene.vae, scene.codes))
    try:
        return aggregate_plane(planar(scene.vae, scene.codes))
    except LeftOut:
        return aggregate(panels(scene.vae, scene.codes, scene.dimensions))


def draw_curves(scene: Scene) -> Figure:
    found = read_metrics(scene.folder / "metrics.csv")
    terms = {}
    for term, title in TERMS.items():
        stages = {s: found[f"{s}/{term}"] for s in ("train", "val") if f"{s}/{term}" in found}
        if stages:
            terms[title] = stages
    if not terms:
        raise LeftOut("there are no curves in metrics.csv, which logger=csv writes")
    return curves(terms, steps_per_epoch(found))


GRIDS = ("reconstructions", "samples")  # that are cheap
FIGURES: dict[str, Callable[[Scene], Figure | Image.Image]] = {
    "reconstructions": draw_reconstructions,
    "samples": draw_samples,
    "traversals": draw_traversals,
    "walks": draw_walks,
    "map": draw_map,
    "aggregate": draw_aggregate,
    "kl_per_dimension": draw_kl_per_dimension,
    "curves": draw_curves,
}
