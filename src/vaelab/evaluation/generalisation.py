"""The part `generalisation`: how much better the bounds of training images are than of new images.

Both bounds use the same number of images, so that they have the same noise, and the same number of
importance samples, since more samples tighten a bound.
"""

import math
from collections.abc import Mapping
from typing import Any

from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.likelihood import evaluate_likelihood
from vaelab.runs.metrics_file import EvaluationNumbers
from vaelab.runs.run import RunParts

MAX_SAMPLES = 100  # importance samples of both bounds


def evaluate(run: RunParts, config: EvaluationConfig) -> EvaluationNumbers:
    """Compute elbo_train and nll_train, and elbo_gap and nll_gap, which are 0 without overfitting.

    Returns:
        Those four, and the standard errors of both gaps as ..._se, in nats per image; nll_* only
        where there is an NLL. Also generalisation_images, the number of images on each side, and
        generalisation_samples.

    Raises:
        NotApplicable: If the split is the training split, or q(z|x) has no density.
    """
    if config.split == "train":
        raise NotApplicable("the gap compares training images with others: set --split test")
    if not run.vae.posterior.has_density:
        raise NotApplicable(
            f"{type(run.vae.posterior).__name__} has no density, so there is no bound to compare"
        )
    samples = min(config.samples, MAX_SAMPLES)
    images = min(len(run.data.splits[name].images) for name in ("train", config.split))
    images = min(images, config.images or images)

    def compute_bounds(split: str) -> Mapping[str, Any]:
        journal = config.journal_folder(f"generalisation-{split}")
        return evaluate_likelihood(run.vae, run.data, split, samples, config.seed, images, journal)

    train, other = compute_bounds("train"), compute_bounds(config.split)
    numbers: EvaluationNumbers = {
        "generalisation_images": images,
        "generalisation_samples": samples,
    }
    numbers |= {"elbo_train": train["elbo"], "elbo_gap": train["elbo"] - other["elbo"]}
    numbers["elbo_gap_se"] = math.hypot(train["elbo_se"], other["elbo_se"])
    if "nll" in train:
        numbers |= {"nll_train": train["nll"], "nll_gap": other["nll"] - train["nll"]}
        numbers["nll_gap_se"] = math.hypot(train["nll_se"], other["nll_se"])
    return numbers
