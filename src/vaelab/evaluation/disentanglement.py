"""Whether each factor has a dimension of its own: the part `disentanglement` of an evaluation."""

from typing import Any

from torch import Tensor

from vaelab.evaluation.base import Absent, Asked
from vaelab.evaluation.codes import fitted_and_new
from vaelab.metrics.dci import dci
from vaelab.metrics.factor_vae import factor_vae
from vaelab.metrics.mig import mig
from vaelab.metrics.probes import Coded
from vaelab.metrics.sap import sap
from vaelab.noise import Stream, generator, seed_from
from vaelab.run import Run


def evaluate(run: Run, asked: Asked) -> dict[str, Any]:
    """On the codes of the split, the means of q(z|x); the forests of DCI are fitted to training
    codes.

    Returns:
        mig, sap, dci_disentanglement, dci_completeness, dci_informativeness and factor_vae, at
        most 1. Their files say what they are on codes that know nothing.
    """
    data = run.data
    if not data.factors:
        raise Absent("what these images were made from is not known, as it is for data=sprites")
    if run.vae.conditional:
        raise Absent("the encoder was told the factors")
    fitted, new = fitted_and_new(run, asked)
    varied = _varied(fitted) & _varied(new)
    if not varied.any():
        raise Absent("all images have the same factors")
    names = [name for name, kept in zip(data.factors, varied, strict=True) if kept]
    unordered = {number for number, name in enumerate(names) if name in data.unordered}
    v, new_v = fitted.labels[:, varied], new.labels[:, varied]
    forests = dci(
        fitted.codes, v, new.codes, new_v, unordered, seed_from(Stream.PROBES, asked.seed)
    )
    return {
        "mig": mig(new.codes, new_v),
        "sap": sap(new.codes, new_v, unordered),
        "factor_vae": factor_vae(new.codes, new_v, generator=generator(Stream.PROBES, asked.seed)),
    } | {f"dci_{name}": value for name, value in forests._asdict().items()}


def _varied(coded: Coded) -> Tensor:
    """Which factors have more than one value."""
    return (coded.columns != coded.columns[:, :1]).any(1)
