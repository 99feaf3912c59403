"""The part `likelihood`, which also ends every training: ELBO, KL, NLL and related numbers."""

import math
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.distributions.layers import HierarchicalNormal
from vaelab.distributions.point_estimates import estimate_mean_twice, mean_at_total, mode_or_mean
from vaelab.estimators.importance import importance_bound
from vaelab.evaluation.base import EvaluationConfig
from vaelab.inference.batches import (
    EvaluationBatch,
    PerImage,
    collect_per_image,
    compute_standard_error,
)
from vaelab.inference.calibration import compute_mean_error_statistic, mean_of_observed
from vaelab.inference.elbo_terms import sample_elbo_terms
from vaelab.kl.capacity import Capacity
from vaelab.likelihoods.gaussian import Gaussian
from vaelab.likelihoods.scaled import LocationScaleLikelihood
from vaelab.metrics.latents import ActiveUnits, bound_aggregate_kl
from vaelab.metrics.linear import exact_elbo, is_linear
from vaelab.models.ladder import Ladder
from vaelab.priors.normal import UnitNormal
from vaelab.runs.config_check import check_samples
from vaelab.runs.metrics_file import LikelihoodNumbers
from vaelab.runs.run import RunParts
from vaelab.vae import VAE

ACTIVE_LAYER = 0.1  # nats
ESTIMATED_DENSITY = (
    "the ELBO is an estimate, and there is no NLL: log p(z) is solved with Hutchinson's estimate "
    "of the trace, whose exp is biased. prior.trace=exact gives both"
)


def evaluate(run: RunParts, config: EvaluationConfig) -> LikelihoodNumbers:
    """Compute the numbers of `evaluate_likelihood`, and those that depend on the training.

    implied_scale is the scale s of a Gaussian decoder for which the loss is SSE / (2 s^2) + KL, up
    to a factor.
    """
    journal = config.journal_folder("likelihood")
    numbers = evaluate_likelihood(
        run.vae,
        run.data,
        config.split,
        config.samples,
        config.seed,
        config.images,
        journal,
        config.calibration_images,
    )
    numbers["all_images"] = len(run.data.splits[config.split].images)
    numbers |= {"pixels": run.data.pixels, "shape": run.data.shape, "step": run.step}
    numbers |= describe_settings(run)
    objective = run.module.objective
    kl = objective.weighting if objective.maximises_likelihood else None
    weight = 0.0
    if kl is not None and not isinstance(kl, Capacity):  # Capacity weighs |KL - C|
        weight = kl.weight(max(run.step - 1, 0))  # in the last optimizer step
    scale = numbers.get("decoder_scale")
    if isinstance(run.vae.likelihood, Gaussian) and scale is not None and weight > 0:
        numbers["implied_scale"] = scale * math.sqrt(weight)
    return numbers


def describe_settings(run: RunParts) -> LikelihoodNumbers:
    """Return the settings that verdicts about the numbers depend on."""
    settings: LikelihoodNumbers = {}
    if (kl := run.module.objective.weighting) is not None:
        settings |= {"kl_weighting": kl.name, "final_weight": kl.final_weight}
    elif run.module.objective.monitor not in ("val/elbo", "val/iw_bound"):
        settings["final_weight"] = 0.0  # the loss has no KL
    if isinstance(run.vae.likelihood, LocationScaleLikelihood):
        settings["scale_kind"] = run.vae.likelihood.scale_kind
        settings["scale_floor"] = float(torch.as_tensor(run.vae.likelihood.lowest_scale).mean())
    return settings


@torch.no_grad()
def evaluate_likelihood(
    vae: VAE,
    data: DataModule,
    split: str = "test",
    samples: int = 100,
    seed: int = 0,
    images: int | None = None,
    journal: Path | None = None,
    calibration_images: int | None = None,
) -> LikelihoodNumbers:
    """Compute the numbers of a split in nats per image. Numbers without meaning are missing.

    Arguments:
        samples: The number of importance samples of the bound on log p(x); a deterministic q(z|x)
            always uses one.
        images: The size of a random subset of the split; None means all.
        journal: The folder that keeps the results of each batch, to resume from.
        calibration_images: The size of a random subset of the training images from which
            loss.scale=optimal computes its scale; None means all.

    Returns:
        split, images, measure (see `describe_measure`), elbo, reconstruction, kl, rmse (of the
        reconstruction from the mode of q(z|x), in units of a pixel), kl_per_dimension, or for
        several layers kl_layer_1, ...; active_units, and active_layers of a top-down hierarchy
        (those with a KL of at least ACTIVE_LAYER nats); nll, unless grayscale pixels are treated as
        probabilities; bits_per_dim for binary pixels, levels and dequantized levels; with missing
        values, observed (the fraction of observed values) and nll_per_entry, the NLL of an observed
        value, of which bits_per_dim then is the unit too; bits_sha256 if pixels were binarized by
        sampling; decoder_scale; elbo_exact for a linear VAE; aggregate_kl_bound for p(z) = N(0, I).
        density_warning if log p(z) is an estimate; the NLL is then missing.
        elbo_se and nll_se are standard errors over images. Without a density of q(z|x), elbo, kl
        and nll are missing.

    Raises:
        UserError: If samples is no positive integer.
    """
    check_samples(samples)
    samples = samples if vae.posterior.is_random else 1
    if vae.likelihood.needs_calibration:
        vae.likelihood.calibrate(compute_mean_error_statistic(vae, data, seed, calibration_images))
    terms = collect_likelihood_terms(vae, data, split, samples, seed, images, journal)
    numbers: dict[str, Any] = {"split": split, "images": len(terms["reconstruction"])}
    numbers["measure"] = describe_measure(vae, data)
    if "elbo" in terms and not vae.prior.has_exact_density:
        numbers["density_warning"] = ESTIMATED_DENSITY
    observed = _mean(terms.pop("observed"))  # the fraction of observed values
    if observed > 0:
        numbers["rmse"] = (_mean(terms.pop("square")) / observed) ** 0.5
    for name in terms.keys() & {"elbo", "nll"}:
        numbers[f"{name}_se"] = compute_standard_error(terms[name])
    if "nll" in terms:
        numbers["samples"] = samples
        density = vae.likelihood.measure(data.pixels) == "density"
        is_discrete = data.pixels in ("binary", "levels") and not density
        if is_discrete or data.pixels == "dequantized":
            level_bits = 8 if density else 0  # a density of pixels in [0, 1] has 256 levels
            nats = _mean(terms["nll"])
            dims = math.prod(vae.shape) * observed
            numbers["bits_per_dim"] = nats / (dims * math.log(2)) + level_bits
        if vae.missing:
            numbers["observed"] = observed
            numbers["nll_per_entry"] = _mean(terms["nll"]) / (math.prod(vae.shape) * observed)
    if split in data.bits_sha256:
        numbers["bits_sha256"] = data.bits_sha256[split]
    if vae.likelihood.scale is not None:
        numbers["decoder_scale"] = vae.likelihood.scale.item()
    if "kl_per_dimension" in terms:
        numbers["kl_per_dimension"] = terms.pop("kl_per_dimension").double().mean(0).tolist()
    if "z" in terms:
        numbers["aggregate_kl_bound"] = bound_aggregate_kl(terms.pop("z"))
    active = ActiveUnits(vae.latent_dim)
    active.update(terms.pop("mean"), terms.pop("mean_again"))
    numbers["active_units"] = int(active.compute().item())
    numbers |= {name: _mean(values) for name, values in terms.items()}
    if isinstance(vae, Ladder):
        layers = [value for name, value in numbers.items() if name.startswith("kl_layer_")]
        numbers["active_layers"] = sum(value >= ACTIVE_LAYER for value in layers)
    return cast(LikelihoodNumbers, numbers)


@torch.no_grad()
def collect_likelihood_terms(
    vae: VAE,
    data: DataModule,
    split: str,
    samples: int,
    seed: int = 0,
    images: int | None = None,
    journal: Path | None = None,
) -> PerImage:
    """Compute the terms (N, ...) of each image of which `evaluate_likelihood` gives the means.

    A likelihood with loss.scale=optimal must be calibrated before. nll is missing without a density
    of q(z|x), and for grayscale pixels treated as probabilities.
    """
    vae.eval()  # is_linear decodes random latents, which must not change batch statistics
    linear, grey = is_linear(vae), vae.likelihood.measure(data.pixels) == "grey"

    def compute(batch: EvaluationBatch) -> PerImage:
        terms = _compute_terms(batch.model, batch.x)
        if vae.posterior.has_density and vae.prior.has_exact_density and not grey:
            terms["nll"] = -importance_bound(batch.model, batch.x, samples)
        if linear:
            terms["elbo_exact"] = exact_elbo(batch.model, batch.x)
        return terms

    return collect_per_image(vae, data, split, compute, seed, images, journal)


def _compute_terms(model: VAE, x: Tensor) -> PerImage:
    """Compute the terms of each image, each (B, ...), from which the numbers are made."""
    q, z, _, kl, terms = sample_elbo_terms(model, x)
    if type(model.prior) is UnitNormal and not model.layered:
        terms["z"] = z
    if kl is not None and isinstance(q, HierarchicalNormal):
        terms |= {f"kl_layer_{number}": layer for number, layer in enumerate(kl.T, 1)}
    elif kl is not None and kl.shape[1] == model.latent_dim:
        terms["kl_per_dimension"] = kl
    reconstruction = mean_at_total(model.decode(mode_or_mean(q)), x)
    terms |= mean_of_observed(x, (reconstruction - x).square(), "square")
    terms["mean"], terms["mean_again"] = estimate_mean_twice(q)
    return terms


def describe_measure(vae: VAE, data: DataModule) -> str:
    """Return what log p(x|z) is on these pixels: probability, density or grey.

    grey is a Bernoulli of grayscale pixels treated as probabilities. " given labels" is appended
    for conditional models, and " given the total of each x" for counts with their total as
    exposure.
    """
    kind, conditions = vae.likelihood.measure(data.pixels), ["labels"] * vae.conditional
    conditions += [vae.likelihood.condition] if vae.likelihood.condition else []
    return " given ".join([kind, *([" and ".join(conditions)] if conditions else [])])


def _mean(values: Tensor) -> float:
    return values.double().mean().item()
