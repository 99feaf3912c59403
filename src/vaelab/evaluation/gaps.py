"""The part `gaps`: how much of log p(x) the ELBO misses, and why.

    log p(x) - ELBO = approximation gap + amortisation gap

The approximation gap is due to the family of q(z|x), the amortisation gap to the encoder, which
predicts q(z|x) in one pass. Both take minutes for a small model. So the part covers few images and
runs only on request.

Reference: Inference Suboptimality in Variational Autoencoders (Cremer et al., 2018), section 3,
arXiv:1801.03558
"""

from typing import Any, cast

from torch import Tensor

from vaelab.estimators import amortisation, annealed
from vaelab.estimators.amortisation import SAMPLES, STEPS, amortised_and_optimised_elbo
from vaelab.estimators.annealed import CHAINS, TEMPERATURES, annealed_bound
from vaelab.estimators.importance import importance_bound
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.inference.batches import (
    EvaluationBatch,
    PerImage,
    collect_per_image,
    compute_standard_error,
)
from vaelab.inference.calibration import compute_mean_error_statistic
from vaelab.runs.metrics_file import EvaluationNumbers
from vaelab.runs.run import RunParts

MAX_IMAGES = 100
BATCH_SIZE = 20  # images; the journal keeps the results of each batch


def evaluate(run: RunParts, config: EvaluationConfig) -> EvaluationNumbers:
    """Compute bounds on log p(x) and both gaps in nats per image, with standard errors as ..._se.

    Returns:
        ais and iw_bound, lower bounds on log p(x): by annealed importance sampling from p(z), and
        by config.samples importance samples from q(z|x). amortisation_gap: the ELBO of the best q
        of the family for each image minus the ELBO of the encoder's q; it is underestimated, since
        the optimization stops short of the best q. approximation_gap: the larger bound minus the
        ELBO of the best q; it is underestimated by what the bound lacks. Also gap_images (at most
        100 random images of the split), ais_chains and ais_temperatures.

        ais is missing if z is no real vector, the gaps if q(z|x) has several layers.

    Raises:
        NotApplicable: If there is no log p(x), or neither annealing nor the gaps are possible.
    """
    vae, data = run.vae, run.data
    no_annealing = annealed.reason_not_applicable(vae)
    no_gaps = amortisation.reason_not_applicable(vae)
    if vae.likelihood.measure(data.pixels) == "grey":
        raise NotApplicable(
            "grayscale pixels treated as probabilities have no log p(x): set data.binarize=dynamic,"
            " or loss=gaussian"
        )
    if not vae.prior.has_exact_density:
        raise NotApplicable(
            "log p(z) is an estimate, of which there is no bound on log p(x): set prior.trace=exact"
        )
    if no_annealing and no_gaps:
        raise NotApplicable(f"{no_annealing}; {no_gaps}")
    vae.eval()
    if vae.likelihood.needs_calibration:
        vae.likelihood.calibrate(compute_mean_error_statistic(vae, data, config.seed))

    def compute(batch: EvaluationBatch) -> PerImage:
        model, x = batch.model, batch.x
        bounds = {"iw_bound": importance_bound(model, x, config.samples)}
        if not no_annealing:
            bounds["ais"], _ = annealed_bound(model, x, CHAINS, TEMPERATURES)
        if not no_gaps:
            bounds["elbo"], bounds["best"] = amortised_and_optimised_elbo(model, x, SAMPLES, STEPS)
        return bounds

    bounds = collect_per_image(
        vae,
        data,
        config.split,
        compute,
        config.seed,
        min(config.images or MAX_IMAGES, MAX_IMAGES),
        config.journal_folder("gaps"),
        title="annealing",
        size=BATCH_SIZE,
    )
    return summarize_gaps({name: values.double() for name, values in bounds.items()})


def summarize_gaps(bounds: PerImage) -> EvaluationNumbers:
    """Compute the numbers of this part.

    Arguments:
        bounds: iw_bound (N,), and where there are any ais (N,), elbo (N,) of the encoder's q and
            best (N,), the ELBO of the best q, in nats.
    """
    log_p_bounds = [bounds[name] for name in ("ais", "iw_bound") if name in bounds]
    numbers: dict[str, Any] = {"gap_images": len(log_p_bounds[0])}
    numbers["iw_bound"] = bounds["iw_bound"].mean().item()
    if "ais" in bounds:
        numbers |= _mean_and_error("ais", bounds["ais"])
        numbers |= {"ais_chains": CHAINS, "ais_temperatures": TEMPERATURES}
    if "best" in bounds:
        log_p = max(log_p_bounds, key=lambda bound: bound.mean().item())
        numbers |= _mean_and_error("amortisation_gap", bounds["best"] - bounds["elbo"])
        numbers |= _mean_and_error("approximation_gap", log_p - bounds["best"])
    return cast(EvaluationNumbers, numbers)


def _mean_and_error(name: str, values: Tensor) -> dict[str, float]:
    return {name: values.mean().item(), f"{name}_se": compute_standard_error(values)}
