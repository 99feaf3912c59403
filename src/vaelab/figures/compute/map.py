"""A map of the latent space: two latent dimensions themselves, or a 2D projection of more."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal, constraints

from vaelab.data.base import DataModule
from vaelab.distributions.normal import StandardNormal
from vaelab.figures.compute.base import (
    EncodedImages,
    FigureNotApplicable,
    check_displayable,
    decode_latents,
    evaluation_mode,
    sample_prior_latents,
)
from vaelab.figures.draw.map import LatentMap
from vaelab.runtime.errors import MissingExtraError, install_hint
from vaelab.vae import VAE

Projection = Literal["pca", "umap"]
MAX_TILES = 21  # decoded images in a row; odd, so that one is in the middle
MAX_ROW_PIXELS = 640  # width of a row of decoded images
ProjectedLatents = tuple[np.ndarray, tuple[str, str]]  # points (N, 2) and the names of both axes


def compute_latent_map(
    vae: VAE, data: DataModule, encoded: EncodedImages, projection: Projection = "pca"
) -> LatentMap:
    """Project the latents of images to two dimensions.

    Arguments:
        projection: How more than two latent dimensions are projected.

    Raises:
        FigureNotApplicable: If there are fewer than two latent dimensions, three images or two
            different latent vectors.
    """
    z = encoded.modes
    if vae.latent_dim < 2 or len(z) < 3:
        raise FigureNotApplicable("a map needs two latent dimensions and three images")
    if (z == z[0]).all():
        raise FigureNotApplicable("all images have the same latent vector")
    project = _keep_both_dimensions if vae.latent_dim == 2 else _PROJECTIONS[projection]
    points, axes = project(z)
    labels, classes, title = _select_labels(data, encoded.split.labels)
    return LatentMap(points, labels, axes, classes, title, equal=project is not _project_with_umap)


def _keep_both_dimensions(z: Tensor) -> ProjectedLatents:
    return z.numpy(), ("$z_1$", "$z_2$")


def _project_with_pca(z: Tensor) -> ProjectedLatents:
    """Project z on its first two principal components, and name their fractions of the variance."""
    from sklearn.decomposition import PCA

    model = PCA(2, svd_solver="full")
    points = model.fit_transform(z.double().numpy())
    first, second = (f"{ratio:.0%} of the variance" for ratio in model.explained_variance_ratio_)
    return points, (f"first principal component, {first}", f"second, {second}")


def _project_with_umap(z: Tensor) -> ProjectedLatents:
    """Project z with UMAP.

    Reference: UMAP (McInnes et al., 2018), arXiv:1802.03426
    """
    try:
        from umap import UMAP
    except ModuleNotFoundError as error:
        message = f"--map umap needs the package umap-learn: run {install_hint('umap')}"
        raise MissingExtraError(message) from error
    return UMAP(random_state=0, n_jobs=1).fit_transform(z.numpy()), ("UMAP 1", "UMAP 2")


_PROJECTIONS = {"pca": _project_with_pca, "umap": _project_with_umap}


def _select_labels(data: DataModule, labels: Tensor) -> tuple[np.ndarray, Sequence[str], str]:
    """Return one label of each image, and what to call it.

    Of several labels the one whose mean is nearest to 1/2 is taken, for it splits binary attributes
    most evenly.

    Returns:
        The labels (N,), NaN if the images have none; the names of the classes; the name of the
        label.
    """
    y = labels.double().flatten(1) if labels.ndim > 1 else labels.double().unsqueeze(1)
    if not y.shape[1]:
        return np.full(len(y), np.nan), (), ""
    if labels.ndim == 1:
        return y[:, 0].numpy(), getattr(data, "classes", ()), ""
    column = int((y.mean(0) - 0.5).abs().argmin())
    names = data.factors or getattr(data, "attributes", ())
    is_binary = not data.factors and ((y == 0) | (y == 1)).all()
    title = names[column].replace("_", " ") if names else f"label {column + 1}"
    return y[:, column].numpy(), ("no", "yes") if is_binary else (), title


class DecodedPlane(NamedTuple):
    """Images decoded on a grid of z_1 and z_2.

    Attributes:
        images: (R, C, channels, H, W).
        columns: The values of z_1.
        rows: The values of z_2.
        title: The label that the decoder was given, empty if the model is not conditional.
    """

    images: Tensor
    columns: list[float]
    rows: list[float]
    title: str


def compute_decoded_plane(vae: VAE, data: DataModule, encoded: EncodedImages) -> DecodedPlane:
    """Decode a grid over the two latent dimensions, at equally spaced quantiles of p(z).

    A conditional model decodes all latents with the label of the first image. Where q(z|x) has no
    density the quantiles are those of the latents of images.

    Raises:
        FigureNotApplicable: If z is not in R^2, or x cannot be shown as an image.
    """
    check_displayable(data)
    if vae.latent_dim != 2 or vae.posterior.support is not constraints.real_vector:
        raise FigureNotApplicable("z is not a plane: it needs two real dimensions")
    tiles = max(5, min(MAX_TILES, MAX_ROW_PIXELS // data.shape[2] // 2 * 2 + 1))
    first, second = _compute_quantiles(vae, encoded, tiles)
    second = second.flip(0)
    z = torch.stack(torch.meshgrid(first, second, indexing="xy"), -1)
    images = decode_latents(vae, data, z, encoded.split.labels[:1])
    title = _describe_condition(data, encoded.split.labels[0]) if vae.conditional else ""
    return DecodedPlane(images, first.tolist(), second.tolist(), title)


def _describe_condition(data: DataModule, label: Tensor) -> str:
    if label.ndim:
        return "with the attributes of the first image"
    classes = getattr(data, "classes", ())
    return f"with the label {classes[label] if classes else label.item()}"


def _compute_quantiles(vae: VAE, encoded: EncodedImages, count: int) -> Tensor:
    """Return the (i + 1/2) / count quantiles of z_1 and of z_2, (2, count)."""
    levels = (torch.arange(count) + 0.5) / count
    with evaluation_mode(vae) as device:
        p = vae.condition_on(encoded.split.labels[:1].to(device)).latents()
    has_density = vae.posterior.has_density
    if has_density and isinstance(p, StandardNormal):
        return Normal(0.0, 1.0).icdf(levels).expand(2, -1)
    z = sample_prior_latents(vae, encoded.split.labels) if has_density else encoded.samples
    return z.quantile(levels, 0).T
