"""The part `latents`: how much the latents tell about the images, and how far q(z) is from p(z).

The KL is decomposed around the aggregate posterior q(z):

    E_x KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || p(z))

q(z) = 1/N sum_n q(z|x_n) is the mixture over the N evaluated images. Its density is computed
exactly, so the only noise is that of the samples of z. Both terms hold for these N images: a mutual
information near its limit ln N means only that the latents distinguish all N images. The rest of
the KL then counts as KL(q(z) || p(z)), which would be smaller with more images.

Reference: ELBO Surgery: Yet Another Way to Carve Up the Variational Evidence Lower Bound (Hoffman
and Johnson, 2016)
"""

import math
from typing import Any, cast

import torch
from torch.distributions import Distribution

from vaelab.distributions.point_estimates import estimate_mean_twice
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.likelihood import describe_settings
from vaelab.inference.batches import (
    EvaluationBatch,
    PerImage,
    collect_per_image,
    compute_standard_error,
)
from vaelab.metrics.aggregate import AggregatePosterior, decompose_kl
from vaelab.metrics.latents import ActiveUnits
from vaelab.objectives.base import sample_with_kl
from vaelab.posteriors.diagonal import Diagonal
from vaelab.priors.normal import UnitNormal
from vaelab.runs.metrics_file import EvaluationNumbers
from vaelab.runs.run import RunParts
from vaelab.runs.verdicts import list_remedies
from vaelab.runtime.precision import to_double
from vaelab.vae import VAE

MAX_IMAGES = 10_000  # the cost is quadratic: every latent is compared with every image
MAX_STANDARD_ERRORS = 5  # by which the sum of both terms may differ from the KL ...
ROUNDING_TOLERANCE = 1e-3  # ... plus these nats
COLLAPSED_INFORMATION = 0.1  # nats of mutual information
PARTIAL_UNITS = 1 / 4  # a smaller fraction of active units is a partial collapse, if also ...
PARTIAL_INFORMATION = 1 / 2  # ... the mutual information is below this fraction of its limit


def evaluate(run: RunParts, config: EvaluationConfig) -> EvaluationNumbers:
    """Decompose the KL of latent_images images (at most 10,000) in nats per image.

    Returns:
        mutual_information and its limit ln N, mutual_information_limit. aggregate_kl, the
        KL(q(z) || p(z)), unless p depends on labels. kl_check, the sum of both minus the KL, and
        its standard error kl_check_se; this KL is in closed form or estimated with other samples.
        total_correlation and dimension_kl, whose sum is aggregate_kl, if q(z|x) is diagonal and
        p(z) = N(0, I).

        Two sentences, each only if it applies: kl_warning, if kl_check exceeds 5 standard errors,
        and collapse.

    Raises:
        NotApplicable: If q(z|x) is deterministic, or its density is not exact or has several
            layers. For the latter two a collapse is still reported.
    """
    vae = run.vae
    if not vae.posterior.has_density or not vae.posterior.is_random:
        raise NotApplicable(f"{type(vae.posterior).__name__} maps each image to a point")
    vae.eval()
    images = min(config.images or MAX_IMAGES, MAX_IMAGES)
    reason = _reason_without_aggregate(vae)
    aggregate = None if reason else _build_aggregate_posterior(run, config, images)

    def compute(batch: EvaluationBatch) -> PerImage:
        q, p = batch.model.encode(batch.x), batch.model.latents()
        mean, again = estimate_mean_twice(q)
        values = {"mean": mean, "again": again, "kl": sample_with_kl(q, p)[1].sum(-1)}
        return values if aggregate is None else values | _decompose_batch_kl(batch, p, aggregate)

    journal = config.journal_folder("latents")
    values = collect_per_image(
        vae, run.data, config.split, compute, config.seed, images, journal, title="comparing"
    )
    units, kl = ActiveUnits(vae.latent_dim), values["kl"].double().mean().item()
    units.update(values.pop("mean"), values.pop("again"))
    active = int(units.compute())
    if reason and active:
        raise NotApplicable(reason)
    numbers: EvaluationNumbers = {} if reason else _summarize_latents(values)
    information = numbers.get("mutual_information")
    limit = numbers.get("mutual_information_limit") or 0.0
    remedies = list_remedies(describe_settings(run))
    if sentence := describe_collapse(active, vae.latent_dim, kl, information, limit, remedies):
        numbers["collapse"] = sentence
    return numbers


def describe_collapse(
    active: int,
    units: int,
    kl: float,
    information: float | None = None,
    limit: float = 0.0,
    remedies: str = "",
) -> str | None:
    """Return a sentence about posterior collapse and its remedies, or None without a collapse.

    The posterior has collapsed if the mutual information is below 0.1 nats, or, if that is unknown,
    if no unit is active. It has partially collapsed if less than a quarter of the units are active
    and the mutual information is below half its limit. Both conditions are needed: unused units do
    no harm as long as the latents distinguish the images, and a low-dimensional latent has little
    room for information.

    The thresholds come from models of 5,000 digits (784-400-20, 40 epochs, 500 test images with a
    limit of 6.2 nats): KL weights of 1, 4, 10, 20 and 40 left 20, 19, 7, 2 and 0 active units,
    6.2, 5.6, 2.8, 0.26 and 0.001 nats of information, and an NLL of 107, 120, 143, 188 and 206.
    The last is the NLL of a model without latents. Healthy models with 2 to 200 units had at least
    4.5 nats. A published model with 19 of 50 active units is healthy (Burda et al., 2016,
    arXiv:1509.00519, table 1).

    Arguments:
        active: The number of active units.
        units: The number of latent dimensions.
        kl: The mean KL(q(z|x) || p(z)) in nats.
        information: The mutual information in nats; None if it is unknown.
        limit: The limit ln N of the mutual information in nats.
        remedies: What may help.
    """
    facts = f"{active} of {units} units active, KL {kl:.2f} nats"
    if information is not None:
        facts = f"{max(information, 0):.2f} of {limit:.2f} nats of information, {facts}"
    if active == 0 if information is None else information < COLLAPSED_INFORMATION:
        return f"posterior collapse: the latents ignore the images ({facts}): {remedies}"
    if (
        information is not None
        and active < PARTIAL_UNITS * units
        and information < PARTIAL_INFORMATION * limit
    ):
        return (
            "partial posterior collapse: the latents say little about the images "
            f"({facts}): {remedies}"
        )
    return None


def _reason_without_aggregate(vae: VAE) -> str | None:
    """Return why the density of q(z) cannot be computed; None if it can."""
    if vae.layered:
        return (
            "q(z) of several stochastic layers needs a pass of the networks for each pair of images"
        )
    if not vae.posterior.has_exact_density:
        return (
            "q(z) needs the density of every latent under the posteriors of other images, where "
            f"the density of {type(vae.posterior).__name__} has unbounded rounding errors"
        )
    return None


@torch.no_grad()
def _build_aggregate_posterior(
    run: RunParts, config: EvaluationConfig, images: int
) -> AggregatePosterior:
    """Build q(z) of the evaluated images, in float64."""

    def compute(batch: EvaluationBatch) -> PerImage:
        return {"out": batch.model.run_encoder(batch.x)}

    outputs = collect_per_image(
        run.vae, run.data, config.split, compute, images=images, title="encoding"
    )
    device = next(run.vae.parameters()).device
    return AggregatePosterior(run.vae.posterior(to_double(outputs["out"].to(device))))


def _decompose_batch_kl(
    batch: EvaluationBatch, p: Distribution, aggregate: AggregatePosterior
) -> PerImage:
    """Estimate the terms of the KL with one sample of q(z|x), with densities of q in float64."""
    model = batch.model
    out = model.run_encoder(batch.x)
    z = model.posterior(out).sample()
    log_q = model.posterior(to_double(out)).log_prob(to_double(z))
    log_p = None if p.batch_shape else to_double(p.log_prob(z))
    factorised = isinstance(model.posterior, Diagonal) and isinstance(model.prior, UnitNormal)
    return decompose_kl(aggregate, to_double(z), log_q, log_p, factorised)


def _summarize_latents(values: PerImage) -> EvaluationNumbers:
    """Average over images, and check that the terms add up to the KL."""
    values = {name: value.double() for name, value in values.items()}
    kl = values.pop("kl")
    numbers: dict[str, Any] = {"latent_images": len(kl)}
    numbers |= {name: value.mean().item() for name, value in values.items()}
    if "mutual_information" in values:
        numbers["mutual_information_limit"] = math.log(len(kl))
    if "aggregate_kl" in values:
        difference = values["mutual_information"] + values["aggregate_kl"] - kl
        mean, error = difference.mean().item(), compute_standard_error(difference)
        numbers |= {"kl_check": mean, "kl_check_se": error}
        if abs(mean) > MAX_STANDARD_ERRORS * error + ROUNDING_TOLERANCE:
            numbers["kl_warning"] = (
                f"mutual information plus aggregate KL differs from the KL by {mean:+.2g} nats, "
                f"with a standard error of {error:.2g}: all three numbers are unreliable"
            )
    return cast(EvaluationNumbers, numbers)
