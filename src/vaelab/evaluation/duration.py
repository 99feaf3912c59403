"""Estimates how long an evaluation takes, before it begins."""

import time
from collections.abc import Callable, Collection

import torch

from vaelab.estimators.importance import importance_bound
from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.generalisation import MAX_SAMPLES
from vaelab.inference.elbo_terms import sample_elbo_terms
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, seeded_noise

TRIAL_IMAGES = 64
TRIAL_SAMPLES = 10
OTHER_PASSES = 10  # over the images, of the parts that take no importance samples


@torch.no_grad()
def estimate_evaluation_seconds(
    run: RunParts, config: EvaluationConfig, parts: Collection[str]
) -> float:
    """Estimate the seconds of an evaluation from those of a few images with few samples.

    The annealed estimates of the part `gaps` are not included.
    """
    split = run.data.splits[config.split]
    x = run.data.prepare(split.images[:TRIAL_IMAGES].to(next(run.vae.parameters()).device))
    model = run.vae.eval().condition_on(split.labels[:TRIAL_IMAGES].to(x.device))
    with seeded_noise(Stream.EVALUATION, config.seed):
        sample_elbo_terms(model, x)  # the first pass is slower than the others
        one_pass = _measure_seconds(lambda: sample_elbo_terms(model, x)) / len(x)
        one_sample = 0.0
        if model.posterior.has_density:
            seconds = _measure_seconds(lambda: importance_bound(model, x, TRIAL_SAMPLES))
            one_sample = seconds / len(x) / TRIAL_SAMPLES
    images = min(config.images or len(split.images), len(split.images))
    samples = config.samples if "likelihood" in parts else 0
    if "generalisation" in parts:
        samples += 2 * min(config.samples, MAX_SAMPLES)
    others = OTHER_PASSES * len({*parts} - {"likelihood", "generalisation", "gaps"})
    return images * (samples * one_sample + (1 + others) * one_pass)


def _measure_seconds(compute: Callable[[], object]) -> float:
    started = time.perf_counter()
    compute()
    return time.perf_counter() - started
