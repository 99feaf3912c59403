"""Whether each factor has a dimension of its own: the part `disentanglement` of an evaluation."""

from typing import Any

from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.probes import fitted_and_new
from vaelab.metrics.dci import dci
from vaelab.metrics.factor_vae import factor_vae
from vaelab.metrics.mig import mig
from vaelab.metrics.sap import sap
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, derive_seed, seeded_generator


def evaluate(run: Run, asked: EvaluationConfig) -> dict[str, Any]:
    """On the codes of the split, the means of q(z|x); the forests of DCI are fitted to training
    codes.

    Returns:
        mig, sap, dci_disentanglement, dci_completeness, dci_informativeness and factor_vae, at
        most 1. Their files say what they are on codes that know nothing.
    """
    data = run.data
    if not data.factors:
        raise NotApplicable("the factors of these images are not known: those of data=sprites are")
    if run.vae.conditional:
        raise NotApplicable("the encoder was told the factors: this is for a model that was not")
    fitted, new = fitted_and_new(run, asked)
    varied = fitted.varied & new.varied
    if not varied.any():
        raise NotApplicable("all images are made from the same factors: at least one must vary")
    (codes, v), (new_codes, new_v) = fitted.only(varied), new.only(varied)
    names = [name for name, kept in zip(data.factors, varied, strict=True) if kept]
    unordered = {number for number, name in enumerate(names) if name in data.unordered}
    chance = seeded_generator(Stream.PROBES, asked.seed)
    forests = dci(codes, v, new_codes, new_v, unordered, derive_seed(Stream.PROBES, asked.seed))
    return {
        "mig": mig(new_codes, new_v),
        "sap": sap(new_codes, new_v, unordered),
        **{f"dci_{name}": value for name, value in forests._asdict().items()},
        "factor_vae": factor_vae(new_codes, new_v, generator=chance),
    }
