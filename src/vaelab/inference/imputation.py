"""Imputation of the missing values of a split, and its quality where the truth is known."""

import math
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.data.base import DataModule
from vaelab.distributions.masked import Masked, fill_from_other_rows
from vaelab.estimators.imputation import impute
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.runtime.errors import UserError
from vaelab.vae import VAE


class ImputedSplit(NamedTuple):
    """The images of a split without missing values.

    Attributes:
        x: The images with E[x_mis | x_obs] in place of NaN (N, *shape).
        samples: The images with samples of p(x_mis | x_obs) in place of NaN (N, K, *shape).
        numbers: missing, the number of missing values; effective_samples, the median over images;
            and where the truth is known missing_nll (nats per missing value), missing_rmse, and
            the same of the baseline, which knows the mean and scale of each entry only:
            missing_nll_baseline and missing_rmse_baseline.
    """

    x: Tensor
    samples: Tensor
    numbers: dict[str, Any]


@torch.no_grad()
def impute_split(
    vae: VAE,
    data: DataModule,
    split: str = "test",
    proposals: int = 100,
    samples: int = 0,
    seed: int = 0,
    images: int | None = None,
) -> ImputedSplit:
    """Impute the missing values of a split, see `vaelab.estimators.imputation.impute`.

    Arguments:
        proposals: The number of importance samples for each image.
        samples: The number of samples of p(x_mis | x_obs) for each image.
        images: The size of a random subset of the split; None means all.

    Raises:
        UserError: If q(z|x) has no density or does not vary, or if p(x|z) is conditional on the
            total of x.
    """
    if not (vae.posterior.has_density and vae.posterior.is_random):
        name = type(vae.posterior).__name__
        raise UserError(
            f"imputation needs importance weights, but the posterior {name} has no density: choose "
            "a run with another posterior= (diagonal, full, iaf, ...)"
        )
    if vae.likelihood.condition is not None:
        raise UserError(
            f"p(x|z) is given {vae.likelihood.condition}, which is unknown if values are missing: "
            "train with loss.exposure=none"
        )
    is_known = split in data.truth
    baseline = _fit_baseline(vae, data) if is_known else None

    def compute(batch: EvaluationBatch) -> PerImage:
        truth = None
        if is_known:
            truth = data.prepare(data.truth[split][batch.indices].to(batch.x.device))
        result = impute(batch.model, batch.x, proposals, samples, truth)
        is_missing = batch.x.isnan()
        values = {"x": result.x, "samples": result.samples, "effective": result.effective_samples}
        values["missing"] = is_missing.flatten(1).sum(1)
        if truth is not None and baseline is not None:
            rest = truth.where(is_missing, torch.nan)
            values["nll"] = -result.log_p_missing
            values["nll_baseline"] = -Masked(baseline).log_prob(rest)
            for name, mean in (("square", result.x), ("square_baseline", baseline.mean)):
                values[name] = ((mean - rest).square().nan_to_num(0)).flatten(1).sum(1)
        return values

    found = collect_per_image(vae, data, split, compute, seed, images, title="imputing")
    count = int(found["missing"].sum())
    numbers: dict[str, Any] = {"split": split, "images": len(found["x"]), "missing": count}
    numbers["proposals"] = proposals
    numbers["effective_samples"] = found["effective"].median().item()
    if is_known and count:
        for end in ("", "_baseline"):
            nats, squares = (found[f"{key}{end}"].double().sum() for key in ("nll", "square"))
            if vae.likelihood.measure(data.pixels) != "grey":
                numbers[f"missing_nll{end}"] = nats.item() / count
            numbers[f"missing_rmse{end}"] = math.sqrt(squares.item() / count)
    return ImputedSplit(found["x"], found["samples"], numbers)


def _fit_baseline(vae: VAE, data: DataModule) -> Distribution:
    """Return p(x) of the likelihood with constant parameters, fitted to the training images.

    For a Bernoulli it is the frequency of a 1 at each pixel. It leaves the likelihood of the model
    unchanged.
    """
    likelihood = deepcopy(vae.likelihood)
    x = data.prepare(data.splits["train"].images).to(next(vae.parameters()).device)
    return likelihood.eval()(likelihood.initialize(fill_from_other_rows(x)))
