"""Samples of the aggregate posterior q(z) = E_x q(z|x), and the prior p(z) to compare them with."""

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

from vaelab.distributions.codebook import UniformIndices, latents_to_indices, number_codes
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.one_hot import OneHotAndNormal
from vaelab.figures.compute.base import (
    EncodedImages,
    FigureNotApplicable,
    evaluation_mode,
    sample_prior_latents,
)
from vaelab.figures.compute.dimensions import LatentDimension
from vaelab.figures.draw.aggregate import (
    AggregatePanel,
    AggregatePlane,
    FrequencyPanel,
    MarginalPanel,
)
from vaelab.posteriors.quantizer import Quantizer
from vaelab.vae import VAE

MAX_PANELS = 12
DENSITY_POINTS = 200  # points of a line of p(z_d)
PLANE_POINTS = 100  # points along each side of a plane
TAIL_FRACTION = 0.002  # of the samples, left out at each end of an axis


def compute_aggregate_panels(
    vae: VAE, encoded: EncodedImages, dimensions: Sequence[LatentDimension]
) -> list[AggregatePanel]:
    """Compute the panels of the first MAX_PANELS dimensions.

    A real dimension has samples of q(z_d) and p(z_d) and the density of p(z_d), a categorical
    variable the frequencies of its categories.
    """
    prior_samples = sample_prior_latents(vae, encoded.split.labels)
    with evaluation_mode(vae) as device:
        p = vae.condition_on(encoded.split.labels.to(device)).latents()
        return [
            _compute_panel(p, dimension, encoded.samples, prior_samples)
            for dimension in dimensions[:MAX_PANELS]
        ]


def _compute_panel(
    p: Distribution, dimension: LatentDimension, q_samples: Tensor, p_samples: Tensor
) -> AggregatePanel:
    start, stop = dimension.indices.start, dimension.indices.stop
    if isinstance(p, OneHotAndNormal) and stop - start > 1:
        frequencies = q_samples[:, start:stop].mean(0), p.mean[start:stop].cpu()
        return FrequencyPanel(dimension.label, *(part.numpy() for part in frequencies))
    q_samples, p_samples = q_samples[:, start], p_samples[:, start]
    points = torch.linspace(*compute_sample_range(q_samples, p_samples), DENSITY_POINTS)
    marginal = get_prior_marginal(p, start)
    density = marginal.log_prob(points).exp().numpy() if marginal else None
    return MarginalPanel(
        dimension.label, q_samples.numpy(), p_samples.numpy(), points.numpy(), density
    )


def get_prior_marginal(p: Distribution, index: int) -> Distribution | None:
    """Return the marginal p(z_d) of the prior on the CPU, d being `index`.

    It is known for normal distributions and mixtures of them, and None otherwise. A prior that
    depends on the label is averaged over its batch of labels.
    """
    if isinstance(p, OneHotAndNormal):
        return get_prior_marginal(p.normal, index - p.log_p.shape[-2:].numel())
    weights, components = torch.ones(1), p
    if isinstance(p, MixtureSameFamily):
        mixture: Any = p.mixture_distribution
        weights, components = mixture.probs.cpu(), p.component_distribution
    if not isinstance(components, DiagonalNormal | MultivariateNormal):
        return None
    shape = (-1, components.event_shape[0])
    mean, variance = (
        moment.reshape(shape)[:, index].cpu() for moment in (components.mean, components.variance)
    )
    mixing = Categorical(weights.expand(len(mean)))
    return MixtureSameFamily(mixing, Normal(mean, variance.sqrt()))


def compute_aggregate_plane(vae: VAE, encoded: EncodedImages) -> AggregatePlane:
    """Return samples of q(z) of two latent dimensions, and p(z) on the square around them.

    Raises:
        FigureNotApplicable: If z is not in R^2, or p(z) depends on the label.
    """
    with evaluation_mode(vae) as device:
        p = vae.condition_on(encoded.split.labels.to(device)).latents()
        is_real = vae.posterior.support is constraints.real_vector
        if vae.latent_dim != 2 or p.batch_shape or not is_real:
            raise FigureNotApplicable("z is not a plane with one prior density")
        prior_samples = sample_prior_latents(vae, encoded.split.labels)
        low, high = compute_sample_range(encoded.samples, prior_samples)
        axis = torch.linspace(low, high, PLANE_POINTS, device=device)
        z = torch.cartesian_prod(axis, axis).flip(-1)
        density = p.log_prob(z).exp().reshape(PLANE_POINTS, PLANE_POINTS)
    return AggregatePlane(encoded.samples.numpy(), axis.cpu().numpy(), density.cpu().numpy())


def compute_sample_range(*samples: Tensor) -> tuple[float, float]:
    """Return the range of all samples (N, ...) without TAIL_FRACTION of each tensor at each end."""
    fractions = torch.tensor([TAIL_FRACTION, 1 - TAIL_FRACTION])
    ends = torch.stack([part.double().quantile(fractions.double()) for part in samples])
    low, high = ends[:, 0].min().item(), ends[:, 1].max().item()
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def compute_code_usage(vae: VAE, encoded: EncodedImages) -> FrequencyPanel:
    """Compute how often each code of a codebook is used in q(z) and in p(z).

    Raises:
        FigureNotApplicable: If the model has no codebook.
    """
    posterior = vae.posterior
    if not isinstance(posterior, Quantizer):
        raise FigureNotApplicable("the model has no codebook")
    prior_samples = sample_prior_latents(vae, encoded.split.labels)
    with evaluation_mode(vae):
        is_uniform = isinstance(getattr(vae.latents(), "index_prior", None), UniformIndices)
        codebook = posterior.get_codebook().detach().cpu()
    size = codebook.shape[:-1].numel()
    q, p = (
        _compute_frequencies(number_codes(latents_to_indices(z, codebook), codebook), size)
        for z in (encoded.samples, prior_samples)
    )
    p = torch.full_like(p, 1 / len(p)) if is_uniform else p
    return FrequencyPanel("", q.numpy(), p.numpy())


def _compute_frequencies(indices: Tensor, size: int) -> Tensor:
    counts = indices.flatten().bincount(minlength=size).double()
    return counts / counts.sum()
