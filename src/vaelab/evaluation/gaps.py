"""Where the bound is loose: what the family of q(z|x) costs it, and what the encoder does.

    log p(x) - ELBO = approximation gap + amortisation gap

It takes minutes for a small model, so it is of a few images, and only where it is asked for.

Reference: Inference Suboptimality in Variational Autoencoders (Cremer et al., 2018), section 3,
arXiv:1801.03558
"""

from typing import Any

from torch import Tensor

from vaelab.estimators import amortisation, annealed
from vaelab.estimators.amortisation import SAMPLES, STEPS, amortised_and_optimised_elbo
from vaelab.estimators.annealed import CHAINS, TEMPERATURES, annealed_bound
from vaelab.estimators.importance import importance_bound
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image, standard_error
from vaelab.inference.calibration import mean_calibration_error
from vaelab.runs.run import Run

IMAGES = 100  # at most
AT_ONCE = 20  # of them, which the journal then keeps


def evaluate(run: Run, asked: EvaluationConfig) -> dict[str, Any]:
    """Nats per image, with standard errors over images as ..._se.

    ais and iw_bound, larger is better: bounds on log p(x) from below, by annealed importance
    sampling from p(z) and by asked.samples of q(z|x). amortisation_gap: the ELBO of the best q of
    the family for each image, less that of the encoder's; at least that, as the best is only nearly
    found. approximation_gap: the larger bound less the ELBO of the best q; too small by what the
    bound lacks. Also gap_images (the first, at most 100), ais_chains and ais_temperatures.

    Without ais where z is no real vector, without the gaps where q(z|x) is of several layers.
    """
    vae, data = run.vae, run.data
    unannealed, fixed = annealed.reason_not_applicable(vae), amortisation.reason_not_applicable(vae)
    if vae.likelihood.measure(data.pixels) == "grey":
        raise NotApplicable(
            "grey pixels have no log p(x): set data.binarize=dynamic, or loss=gaussian"
        )
    if unannealed and fixed:
        raise NotApplicable(f"{unannealed}; {fixed}")
    vae.eval()
    if vae.likelihood.calibrated:
        vae.likelihood.calibrate(mean_calibration_error(vae, data, asked.seed))

    def compute(batch: EvaluationBatch) -> PerImage:
        model, x = batch.model, batch.x
        found = {"iw_bound": importance_bound(model, x, asked.samples)}
        if not unannealed:
            found["ais"], _ = annealed_bound(model, x, CHAINS, TEMPERATURES)
        if not fixed:
            found["elbo"], found["best"] = amortised_and_optimised_elbo(model, x, SAMPLES, STEPS)
        return found

    images, journal = min(asked.images or IMAGES, IMAGES), asked.journal("gaps")
    found = collect_per_image(
        vae,
        data,
        asked.split,
        compute,
        asked.seed,
        images,
        journal,
        title="annealing",
        size=AT_ONCE,
    )
    return gap_numbers({name: values.double() for name, values in found.items()})


def gap_numbers(found: PerImage) -> dict[str, Any]:
    """From ais and iw_bound of each image, and the ELBO of its q and of its best q."""
    bounds = [found[name] for name in ("ais", "iw_bound") if name in found]
    numbers: dict[str, Any] = {"gap_images": len(bounds[0])}
    numbers["iw_bound"] = found["iw_bound"].mean().item()
    if "ais" in found:
        numbers |= _with_error("ais", found["ais"])
        numbers |= {"ais_chains": CHAINS, "ais_temperatures": TEMPERATURES}
    if "best" in found:
        log_p = max(bounds, key=lambda bound: bound.mean().item())
        numbers |= _with_error("amortisation_gap", found["best"] - found["elbo"])
        numbers |= _with_error("approximation_gap", log_p - found["best"])
    return numbers


def _with_error(name: str, values: Tensor) -> dict[str, float]:
    return {name: values.mean().item(), f"{name}_se": standard_error(values)}
