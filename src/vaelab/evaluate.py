"""The numbers of a trained model on one split: `evaluate(vae, data, "test", samples)`.

Batch n draws its noise from (seed, n) and is evaluated by one process, so any number of processes
gives the sums of one.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from tqdm import tqdm

from vaelab.data.base import DataModule
from vaelab.distributions.layers import Layers
from vaelab.metrics.latents import ActiveUnits, KLPerDimension
from vaelab.metrics.linear import exact_elbo, is_linear
from vaelab.metrics.terms import Terms
from vaelab.noise import Stream, noise
from vaelab.objectives.base import draw, draw_with_kl, weigh
from vaelab.vae import VAE

CHUNK = 2**21  # decoder outputs at once
DRAWS = 32  # that estimate the mean of a posterior which does not know it


@torch.no_grad()
def evaluate(
    vae: VAE, data: DataModule, split: str = "test", samples: int = 100, seed: int = 0
) -> dict[str, Any]:
    """Numbers of `split` in nats per image; what has no meaning for this model is absent.

    Arguments:
        samples: Of the importance-weighted bound on log p(x); one is enough for a point.

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
    device = next(vae.parameters()).device
    if vae.likelihood.calibrated:
        vae.likelihood.calibrate(deviation(vae, data, seed))
    terms = Terms().to(device)
    kl_per_dimension = KLPerDimension(vae.latent_dim).to(device)
    active_units = ActiveUnits(vae.latent_dim).to(device)
    linear, by_dimension = is_linear(vae), False
    measure = vae.likelihood.measure(data.pixels)

    for model, x, counted in _batches(vae, data, split, seed):
        q = model.encode(x)
        kept = slice(None if counted else 0)
        found = {}
        if vae.posterior.density:
            z, kl = draw_with_kl(q, model.latents())
            found["kl"] = kl.sum(-1)
            if by_dimension := kl.shape == z.shape:
                kl_per_dimension.update(kl[kept])
            elif isinstance(q, Layers):
                found |= {f"kl_layer_{each}": layer for each, layer in enumerate(kl.T, 1)}
        else:
            z = q.rsample()
        found["reconstruction"] = -model.decode(z).log_prob(x)
        found["square"] = (model.decode(likeliest(q)).mean - x).square().flatten(1).mean(1)
        if vae.posterior.density:
            found["elbo"] = -(found["reconstruction"] + found["kl"])
        if vae.posterior.density and measure != "grey":
            found["nll"] = -importance_bound(model, x, samples)
            found["nll_square"] = found["nll"].double().square()
        if linear:
            found["elbo_exact"] = exact_elbo(model, x)
        terms.update(found, counted)
        active_units.update(*(mean[kept] for mean in _two_means(q)))

    means = {name: mean.item() for name, mean in terms.compute().items()}
    images = len(data.splits[split].images)
    numbers: dict[str, Any] = {"split": split, "images": images, "measure": measure}
    if vae.conditional:
        numbers["measure"] = f"{measure} given labels"
    numbers["rmse"] = math.sqrt(means.pop("square"))
    if "nll" in means:
        variance = means.pop("nll_square") - means["nll"] ** 2
        numbers |= {"samples": samples, "nll_se": math.sqrt(max(variance, 0.0) / images)}
        if measure == "probability" or data.pixels == "dequantized":
            extra = 8 if measure == "density" else 0  # bits: of 256 levels in [0, 1]
            numbers["bits_per_dim"] = means["nll"] / (math.prod(vae.shape) * math.log(2)) + extra
    if split in data.bits_sha256:
        numbers["bits_sha256"] = data.bits_sha256[split]
    if vae.likelihood.scale is not None:
        numbers["decoder_scale"] = vae.likelihood.scale.item()
    if by_dimension:
        numbers["kl_per_dimension"] = kl_per_dimension.compute().reshape(-1).tolist()
    numbers["active_units"] = int(active_units.compute().item())
    return numbers | means


def check_samples(samples: Any) -> None:
    if type(samples) is not int or samples < 1:
        raise ValueError(f"samples={samples}: it must be a whole number, at least 1")


def _batches(
    vae: VAE, data: DataModule, split: str, seed: int
) -> Iterator[tuple[VAE, Tensor, bool]]:
    """The model given the labels, the images, and whether to count them, each with its noise."""
    device, batches = next(vae.parameters()).device, data.batches(split)
    silent = True if batches.rank else None  # None: silent where there is no terminal
    progress = tqdm(batches, f"evaluating {split}", leave=False, disable=silent)
    for number, (x, y) in zip(batches.numbers, progress, strict=True):
        with noise(Stream.EVALUATION, seed, number):
            yield vae.given(y.to(device)), data.prepare(x.to(device)), number < batches.total


def deviation(vae: VAE, data: DataModule, seed: int) -> Tensor:
    """The mean deviation of a pixel over the training images, with z drawn from q(z|x)."""
    terms = Terms().to(next(vae.parameters()).device)
    for model, x, counted in _batches(vae, data, "train", seed):
        mean = model.decode(model.encode(x).rsample()).mean
        deviation = vae.likelihood.deviation(x - mean)
        terms.update({"deviation": deviation.flatten(1).mean(1)}, counted)
    return terms.compute()["deviation"]


def importance_bound(vae: VAE, x: Tensor, samples: int) -> Tensor:
    """log 1/K sum_k p(x, z_k) / q(z_k|x) (B,) for K samples, in memory that K does not change.

    Reference: Importance Weighted Autoencoders (Burda et al., 2016), equation 8, arXiv:1509.00519
    """
    q, p = vae.encode(x), vae.latents()
    total = torch.full((len(x),), -math.inf, device=x.device)
    step = max(1, CHUNK // (len(x) * vae.likelihood.outputs * math.prod(vae.shape[1:])))
    for done in range(0, samples, step):
        log_p, kl = weigh(vae, x, *draw(q, min(step, samples - done)), p)
        total = torch.logaddexp(total, (log_p - kl).logsumexp(0))
    return total - math.log(samples)


def likeliest(q: Distribution) -> Tensor:
    """The mode of q where it is known, else its mean, estimated if need be."""
    try:
        return q.mode
    except NotImplementedError:
        return _two_means(q)[0]


def _two_means(q: Distribution) -> tuple[Tensor, Tensor]:
    """The mean of q twice, or two independent estimates of it."""
    try:
        return q.mean, q.mean
    except NotImplementedError:
        first, second = q.sample(torch.Size((2, DRAWS))).mean(1)
        return first, second
