"""Draws of the aggregate posterior q(z) = E_x q(z|x) beside the prior p(z)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    constraints,
)

from vaelab.distributions.codebook import UniformIndices, vectors_to_indices
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.one_hot import OneHots
from vaelab.figures.compute.base import (
    EncodedImages,
    FigureNotApplicable,
    evaluation_mode,
    sample_prior_points,
)
from vaelab.figures.compute.dimensions import Dimension
from vaelab.figures.draw.aggregate import AggregatePlane, MarginalPanel, Panel, SharesPanel
from vaelab.posteriors.vq import VQ
from vaelab.vae import VAE

PANELS = 12
POINTS = 200  # where a density is computed
SIDE = 100  # of a plane of such points
OUTSIDE = 0.002  # the share of draws that may lie beyond either end


def compute_panels(vae: VAE, codes: EncodedImages, dimensions: Sequence[Dimension]) -> list[Panel]:
    """Of the first PANELS dimensions: numbers and their density, or the shares of categories."""
    draws = sample_prior_points(vae, codes.split.labels)
    with evaluation_mode(vae) as device:
        p = vae.condition_on(codes.split.labels.to(device)).latents()
        return [_panel(p, each, codes.drawn, draws) for each in dimensions[:PANELS]]


def _panel(p: Distribution, dimension: Dimension, q: Tensor, draws: Tensor) -> Panel:
    start, stop = dimension.places.start, dimension.places.stop
    if isinstance(p, OneHots) and stop - start > 1:
        shares = q[:, start:stop].mean(0), p.mean[start:stop].cpu()
        return SharesPanel(dimension.label, *(each.numpy() for each in shares))
    q, draws = q[:, start], draws[:, start]
    points = torch.linspace(*sample_range(q, draws), POINTS)
    normal = prior_marginal(p, start)
    density = normal.log_prob(points).exp().numpy() if normal else None
    return MarginalPanel(dimension.label, q.numpy(), draws.numpy(), points.numpy(), density)


def prior_marginal(p: Distribution, place: int) -> Distribution | None:
    """p(z_d) on the CPU, d being a place, where p is normal, several normals or a mixture of them.

    Where p depends on the label it is the mean over labels.
    """
    if isinstance(p, OneHots):
        return prior_marginal(p.normal, place - p.log_p.shape[-2:].numel())
    weights, parts = torch.ones(1), p
    if isinstance(p, MixtureSameFamily):
        chances: Any = p.mixture_distribution
        weights, parts = chances.probs.cpu(), p.component_distribution
    if not isinstance(parts, DiagonalNormal | MultivariateNormal):
        return None
    shape = (-1, parts.event_shape[0])
    mean, variance = (each.reshape(shape)[:, place].cpu() for each in (parts.mean, parts.variance))
    mixing = Categorical(weights.expand(len(mean)))
    return MixtureSameFamily(mixing, Normal(mean, variance.sqrt()))


def compute_plane(vae: VAE, codes: EncodedImages) -> AggregatePlane:
    """Draws of q(z) of two dimensions, and p(z) on the square around them."""
    with evaluation_mode(vae) as device:
        p = vae.condition_on(codes.split.labels.to(device)).latents()
        real = vae.posterior.support is constraints.real_vector
        if vae.latent_dim != 2 or p.batch_shape or not real:
            raise FigureNotApplicable("there is no plane with one density")
        low, high = sample_range(codes.drawn, sample_prior_points(vae, codes.split.labels))
        axis = torch.linspace(low, high, SIDE, device=device)
        z = torch.cartesian_prod(axis, axis).flip(-1)
        density = p.log_prob(z).exp().reshape(SIDE, SIDE)
    return AggregatePlane(codes.drawn.numpy(), axis.cpu().numpy(), density.cpu().numpy())


def sample_range(*draws: Tensor) -> tuple[float, float]:
    """What holds all draws (N, ...) but OUTSIDE of them at either end."""
    shares = torch.tensor([OUTSIDE, 1 - OUTSIDE])
    found = torch.stack([each.double().quantile(shares.double()) for each in draws])
    low, high = found[:, 0].min().item(), found[:, 1].max().item()
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def compute_code_usage(vae: VAE, codes: EncodedImages) -> SharesPanel:
    """How often each code of a codebook is used, in q(z) and in p(z)."""
    posterior = vae.posterior
    if not isinstance(posterior, VQ):
        raise FigureNotApplicable("there is no codebook")
    draws = sample_prior_points(vae, codes.split.labels)
    with evaluation_mode(vae):
        uniform = isinstance(getattr(vae.latents(), "indices", None), UniformIndices)
    book = posterior.codebook.cpu()
    q, p = (_counts(vectors_to_indices(z, book), len(book)) for z in (codes.drawn, draws))
    return SharesPanel("", q.numpy(), (torch.full_like(p, 1 / len(p)) if uniform else p).numpy())


def _counts(indices: Tensor, size: int) -> Tensor:
    counts = indices.flatten().bincount(minlength=size).double()
    return counts / counts.sum()
