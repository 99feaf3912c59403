"""How much better the training images are known than those of the split.

The bounds of both are those of as many images, so the noise of an image weighs the same; more
samples tighten a bound, so the gap is one between bounds with the same number of samples.
"""

from typing import Any

from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.likelihood import likelihood_numbers
from vaelab.runs.run import Run

SAMPLES = 100  # of the bounds that are compared, at most


def evaluate(run: Run, asked: EvaluationConfig) -> dict[str, Any]:
    """elbo_train and nll_train, and elbo_gap and nll_gap, which are 0 where nothing is memorised.

    Also generalisation_images, of each side, and generalisation_samples.
    """
    if asked.split == "train":
        raise NotApplicable("the gap is one between training images and others: set --split test")
    if not run.vae.posterior.density:
        raise NotApplicable(
            f"{type(run.vae.posterior).__name__} is no density, so there is no bound"
        )
    samples = min(asked.samples, SAMPLES)
    images = min(len(run.data.splits[name].images) for name in ("train", asked.split))
    images = min(images, asked.images or images)

    def bounds(split: str) -> dict[str, Any]:
        journal = asked.journal(f"generalisation-{split}")
        return likelihood_numbers(run.vae, run.data, split, samples, asked.seed, images, journal)

    train, other = bounds("train"), bounds(asked.split)
    numbers = {"generalisation_images": images, "generalisation_samples": samples}
    numbers |= {"elbo_train": train["elbo"], "elbo_gap": train["elbo"] - other["elbo"]}
    if "nll" in train:
        numbers |= {"nll_train": train["nll"], "nll_gap": other["nll"] - train["nll"]}
    return numbers
