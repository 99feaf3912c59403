"""The part `disentanglement`: does each factor of variation have its own latent dimension?"""

import math

import torch
from torch import Tensor

from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.probes import collect_training_and_split_latents
from vaelab.metrics.dci import dci
from vaelab.metrics.factor_vae import factor_vae
from vaelab.metrics.mig import mig
from vaelab.metrics.sap import sap
from vaelab.runs.metrics_file import EvaluationNumbers
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, derive_seed, seeded_generator


def evaluate(run: RunParts, config: EvaluationConfig) -> EvaluationNumbers:
    """Compute disentanglement scores of the latents of the split, the means of q(z|x).

    The random forests of DCI are fitted to latents of training images.

    Returns:
        mig, sap, dci_disentanglement, dci_completeness, dci_informativeness and factor_vae, each
        at most 1, and factor_images, what they were computed on. The modules of vaelab.metrics give
        their values for random latents.

    Raises:
        NotApplicable: If the factors are unknown or constant, or the encoder receives them.
    """
    data = run.data
    if not data.factors:
        raise NotApplicable(
            "the factors of these images are not known: use data=sprites, or name the labels that "
            "are factors, as in data=arrays data.factors=[shape,size]"
        )
    if run.vae.conditional:
        raise NotApplicable("the encoder receives the factors as labels: use another model=")
    training, split = collect_training_and_split_latents(run, config)
    varying = training.varying & split.varying
    if not varying.any():
        raise NotApplicable("all images have the same factors: at least one factor must vary")
    (z, v), (new_z, new_v) = training.select(varying), split.select(varying)
    names = [name for name, is_varying in zip(data.factors, varying, strict=True) if is_varying]
    unordered = {number for number, name in enumerate(names) if name in data.unordered}
    generator = seeded_generator(Stream.PROBES, config.seed)
    forests = dci(z, v, new_z, new_v, unordered, derive_seed(Stream.PROBES, config.seed))
    return {
        "mig": mig(new_z, new_v),
        "sap": sap(new_z, new_v, unordered),
        "dci_disentanglement": forests.disentanglement,
        "dci_completeness": forests.completeness,
        "dci_informativeness": forests.informativeness,
        "factor_vae": factor_vae(new_z, new_v, generator=generator),
        "factor_images": _describe_coverage(
            new_v, torch.cat([each.labels for each in data.splits.values()])[:, varying]
        ),
    }


def _describe_coverage(factors: Tensor, known: Tensor) -> str:
    """Say whether factors (N, K) are all combinations of the known values (M, K), or a sample."""
    grid = math.prod(len(values.unique()) for values in known.T)
    if len(factors.unique(dim=0)) == grid:
        return f"full grid of {grid:,} combinations"
    return f"sample of {len(factors):,} images"
