"""The latent space in a plane: its own two dimensions, or a projection of more."""

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
    check_image_data,
    decode_latents,
    evaluation_mode,
    sample_prior_points,
)
from vaelab.figures.draw.map import Cloud
from vaelab.vae import VAE

Projection = Literal["pca", "umap"]
SIDE = 21  # decoded pictures in a row; odd, so that one is in the middle
PIXELS = 640  # in a row of them, at most
Plane = tuple[np.ndarray, tuple[str, str]]  # points (N, 2) and what the axes are


def compute_cloud(
    vae: VAE, data: DataModule, codes: EncodedImages, projection: Projection = "pca"
) -> Cloud:
    """The likeliest codes of images, and their labels."""
    z = codes.likeliest
    if vae.latent_dim < 2 or len(z) < 3:
        raise FigureNotApplicable("a map needs two latent dimensions and three images")
    if (z == z[0]).all():
        raise FigureNotApplicable("all images have one code")
    project = _itself if vae.latent_dim == 2 else _PROJECTIONS[projection]
    points, axes = project(z)
    labels, classes, title = _labels(data, codes.split.labels)
    return Cloud(points, labels, axes, classes, title, equal=project is not _umap)


def _itself(z: Tensor) -> Plane:
    return z.numpy(), ("$z_1$", "$z_2$")


def _pca(z: Tensor) -> Plane:
    """The two directions in which the codes vary most, with their shares of the variance."""
    from sklearn.decomposition import PCA

    model = PCA(2, svd_solver="full")
    points = model.fit_transform(z.double().numpy())
    first, second = (f"{share:.0%} of the variance" for share in model.explained_variance_ratio_)
    return points, (f"first principal component, {first}", f"second, {second}")


def _umap(z: Tensor) -> Plane:
    """Reference: UMAP (McInnes et al., 2018), arXiv:1802.03426"""
    try:
        from umap import UMAP
    except ModuleNotFoundError as error:
        message = "--map umap needs one more package: pip install umap-learn"
        raise ModuleNotFoundError(message) from error
    return UMAP(random_state=0, n_jobs=1).fit_transform(z.numpy()), ("UMAP 1", "UMAP 2")


_PROJECTIONS = {"pca": _pca, "umap": _umap}


def _labels(data: DataModule, labels: Tensor) -> tuple[np.ndarray, Sequence[str], str]:
    """One label (N,) of each image, nan for none; the names of classes; what the label is.

    Of several attributes the one that parts the images most evenly.
    """
    y = labels.double().flatten(1) if labels.ndim > 1 else labels.double().unsqueeze(1)
    if not y.shape[1]:
        return np.full(len(y), np.nan), (), ""
    if labels.ndim == 1:
        return y[:, 0].numpy(), getattr(data, "classes", ()), ""
    chosen = int((y.mean(0) - 0.5).abs().argmin())
    names = data.factors or getattr(data, "attributes", ())
    yes_or_no = ("no", "yes") if not data.factors and ((y == 0) | (y == 1)).all() else ()
    title = names[chosen].replace("_", " ") if names else f"label {chosen + 1}"
    return y[:, chosen].numpy(), yes_or_no, title


class DecodedPlane(NamedTuple):
    """Pictures (R, C, ...) of a plane: z_1 of the columns, z_2 of the rows, what else is given."""

    images: Tensor
    columns: list[float]
    rows: list[float]
    title: str


def compute_decoded_plane(vae: VAE, data: DataModule, codes: EncodedImages) -> DecodedPlane:
    """The pictures where equal shares of p(z) lie between neighbours, in each dimension.

    A conditional model decodes all with the label of the first image. Where q(z|x) has no density
    the shares are of the codes.
    """
    check_image_data(data)
    if vae.latent_dim != 2 or vae.posterior.support is not constraints.real_vector:
        raise FigureNotApplicable("only two dimensions make a plane")
    first, second = _quantiles(vae, codes, max(5, min(SIDE, PIXELS // data.shape[2] // 2 * 2 + 1)))
    second = second.flip(0)
    z = torch.stack(torch.meshgrid(first, second, indexing="xy"), -1)
    images = decode_latents(vae, data, z, codes.split.labels[:1])
    title = _given(data, codes.split.labels[0]) if vae.conditional else ""
    return DecodedPlane(images, first.tolist(), second.tolist(), title)


def _given(data: DataModule, label: Tensor) -> str:
    if label.ndim:
        return "with the attributes of the first image"
    classes = getattr(data, "classes", ())
    return f"with the label {classes[label] if classes else label.item()}"


def _quantiles(vae: VAE, codes: EncodedImages, many: int) -> Tensor:
    """Values (2, many) of z_1 and of z_2 with equal shares between them."""
    shares = (torch.arange(many) + 0.5) / many
    with evaluation_mode(vae) as device:
        p = vae.condition_on(codes.split.labels[:1].to(device)).latents()
    if vae.posterior.density and isinstance(p, StandardNormal):
        return Normal(0.0, 1.0).icdf(shares).expand(2, -1)
    random = vae.posterior.density
    draws = sample_prior_points(vae, codes.split.labels) if random else codes.drawn
    return draws.quantile(shares, 0).T
