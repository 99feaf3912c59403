"""The numbers that every run ends with: ELBO, KL, the importance-weighted bound and their kin."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaelab.data.base import DataModule
from vaelab.distributions.layers import Layers
from vaelab.estimators.importance import importance_bound
from vaelab.evaluation.base import EvaluationConfig
from vaelab.inference.batches import (
    EvaluationBatch,
    PerImage,
    collect_per_image,
    estimate_mean_twice,
    mode_or_mean,
    standard_error,
)
from vaelab.inference.calibration import mean_calibration_error
from vaelab.inference.elbo_terms import sample_elbo_terms
from vaelab.kl.base import KLWeighting
from vaelab.kl.capacity import Capacity
from vaelab.likelihoods.gaussian import Gaussian
from vaelab.metrics.latents import ActiveUnits
from vaelab.metrics.linear import exact_elbo, is_linear
from vaelab.runs.run import Run
from vaelab.vae import VAE


def evaluate(run: Run, asked: EvaluationConfig) -> dict[str, Any]:
    """The numbers of `numbers_of`, and those that need to know how the model was trained.

    implied_scale is the scale s of a normal decoder, the loss written as SSE / (2 s^2) + KL.
    """
    journal = asked.journal("likelihood")
    numbers = likelihood_numbers(
        run.vae, run.data, asked.split, asked.samples, asked.seed, asked.images, journal
    )
    numbers |= {"pixels": run.data.pixels, "shape": run.data.shape, "step": run.step}
    objective = run.module.objective
    kl = getattr(objective, "kl", None) if objective.minimises_likelihood else None
    weight = 0.0
    if isinstance(kl, KLWeighting) and not isinstance(kl, Capacity):  # whose factor is of |KL - C|
        weight = kl.weight(max(run.step - 1, 0))  # of the last step taken
    if isinstance(run.vae.likelihood, Gaussian) and "decoder_scale" in numbers and weight > 0:
        numbers["implied_scale"] = numbers["decoder_scale"] * math.sqrt(weight)
    return numbers


@torch.no_grad()
def likelihood_numbers(
    vae: VAE,
    data: DataModule,
    split: str = "test",
    samples: int = 100,
    seed: int = 0,
    images: int | None = None,
    journal: Path | None = None,
) -> dict[str, Any]:
    """Numbers of `split` in nats per image; what has no meaning for this model is absent.

    Arguments:
        samples: Of the importance-weighted bound on log p(x); one is enough for a point.
        images: The first so many of the split; None is all.
        journal: A folder that keeps what was found for each batch, to go on from.

    Returns:
        images, measure (of x, or of x given labels), elbo, reconstruction, kl, rmse (of the
        likeliest code, in units of a pixel), kl_per_dimension or kl_layer_1, ... of several layers,
        active_units; nll and its standard error nll_se, unless pixels are grey; bits_per_dim for
        discrete and for dequantized pixels; bits_sha256 where bits were drawn; decoder_scale;
        elbo_exact for a linear VAE. Without a density q(z|x) there is neither elbo nor kl nor nll.
    """
    check_samples(samples)
    samples = samples if vae.posterior.random else 1
    vae.eval()
    if vae.likelihood.calibrated:
        vae.likelihood.calibrate(mean_calibration_error(vae, data, seed))
    linear, grey = is_linear(vae), vae.likelihood.measure(data.pixels) == "grey"

    def compute(batch: EvaluationBatch) -> PerImage:
        found = _terms(batch.model, batch.x)
        if vae.posterior.density and not grey:
            found["nll"] = -importance_bound(batch.model, batch.x, samples)
        if linear:
            found["elbo_exact"] = exact_elbo(batch.model, batch.x)
        return found

    found = collect_per_image(vae, data, split, compute, seed, images, journal)
    numbers: dict[str, Any] = {"split": split, "images": len(found["reconstruction"])}
    numbers["measure"] = describe_measure(vae, data)
    numbers["rmse"] = _mean(found.pop("square")) ** 0.5
    if "nll" in found:
        numbers |= {"samples": samples, "nll_se": standard_error(found["nll"])}
        density = vae.likelihood.measure(data.pixels) == "density"
        if not density or data.pixels == "dequantized":
            extra = 8 if density else 0  # bits: of 256 levels in [0, 1]
            nats = _mean(found["nll"])
            numbers["bits_per_dim"] = nats / (math.prod(vae.shape) * math.log(2)) + extra
    if split in data.bits_sha256:
        numbers["bits_sha256"] = data.bits_sha256[split]
    if vae.likelihood.scale is not None:
        numbers["decoder_scale"] = vae.likelihood.scale.item()
    if "kl_per_dimension" in found:
        numbers["kl_per_dimension"] = found.pop("kl_per_dimension").double().mean(0).tolist()
    active = ActiveUnits(vae.latent_dim)
    active.update(found.pop("mean"), found.pop("mean_again"))
    numbers["active_units"] = int(active.compute().item())
    return numbers | {name: _mean(values) for name, values in found.items()}


def _terms(model: VAE, x: Tensor) -> PerImage:
    """Of each image what the numbers are made of, each (B, ...)."""
    q, _, _, kl, found = sample_elbo_terms(model, x)
    if kl is not None and isinstance(q, Layers):
        found |= {f"kl_layer_{each}": layer for each, layer in enumerate(kl.T, 1)}
    elif kl is not None and kl.shape[1] == model.latent_dim:
        found["kl_per_dimension"] = kl
    found["square"] = (model.decode(mode_or_mean(q)).mean - x).square().flatten(1).mean(1)
    found["mean"], found["mean_again"] = estimate_mean_twice(q)
    return found


def describe_measure(vae: VAE, data: DataModule) -> str:
    """What log p(x|z) is on these pixels: probability, density or grey; given labels or not."""
    kind = vae.likelihood.measure(data.pixels)
    return f"{kind} given labels" if vae.conditional else kind


def check_samples(samples: Any) -> None:
    if type(samples) is not int or samples < 1:
        raise ValueError(f"samples={samples}: it must be a whole number, at least 1")


def _mean(values: Tensor) -> float:
    return values.double().mean().item()
