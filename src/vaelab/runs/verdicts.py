"""Sentences about the numbers of a run or an evaluation that do not mean what they seem to mean.

A verdict names its cause, and never advises a setting that the run already has.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vaelab.runs.untrusted import SENTENCES
from vaelab.runtime.language import TO_ENGLISH, Translate
from vaelab.runtime.metric_names import METRICS

COLLAPSED_KL = 0.1  # nats; the mutual information is at most the KL
MAX_PRIOR_DISTANCE = 10.0  # nats from q(z) to p(z), above which samples of p(z) are unusable
MAX_SCALE_RATIO = 3.0  # between the decoder scale and the RMSE
MIN_DECODER_SCALE = 1 / 256  # the floor of runs that did not record it
LIMIT_TOLERANCE = 0.05  # nats below ln N at which the mutual information is at its limit


def find_verdicts(numbers: Mapping[str, Any], t: Translate = TO_ENGLISH) -> list[str]:
    """Return the sentences about metrics.json or numbers.json, without a full stop.

    Sentences that the training recorded stay English.
    """
    found = [str(numbers[key]) for key in SENTENCES if numbers.get(key) is not None]
    if broken := [key for key in METRICS if key in numbers and numbers[key] is None]:
        names = ", ".join(t(METRICS[key].name) for key in broken)
        found.append(
            t("non-finite metrics: {names}. The training diverged: lower optimizer.lr", names=names)
        )
    if "collapse" not in numbers and is_collapsed(numbers):
        found.append(_describe_collapse(numbers, t))
    found += _judge_prior(numbers, t)
    found += _judge_scale(numbers, t)
    found += _judge_aggregate(numbers, t)
    return found


def is_collapsed(numbers: Mapping[str, Any]) -> bool:
    """True if the latents carry almost no information about x.

    The KL bounds the mutual information. If it is larger, inactive units are a collapse only where
    the loss has a KL, which gives the latents the scale of the prior.
    """
    kl, information = numbers.get("kl"), numbers.get("mutual_information")
    if information is not None:
        return information < COLLAPSED_KL
    if kl is None:
        return False
    return kl < COLLAPSED_KL or (numbers.get("active_units") == 0 and _final_weight(numbers) > 0)


def list_remedies(numbers: Mapping[str, Any], t: Translate = TO_ENGLISH) -> str:
    """Return what may prevent a collapse, without what is set already."""
    chosen = numbers.get("kl_weighting")
    options = [f"kl={option}" for option in ("warmup", "free_bits") if option != chosen]
    remedies = options if chosen is not None else []
    if chosen is not None and _final_weight(numbers) > 0:
        remedies.append(t("a smaller kl.beta"))
    if numbers.get("scale_kind") == "fixed":
        remedies.append("loss.scale=learned")
    return t("try {remedies}", remedies=t(" or ").join(remedies or [t("a larger optimizer.lr")]))


def _describe_collapse(numbers: Mapping[str, Any], t: Translate) -> str:
    kl, active = numbers.get("kl"), numbers.get("active_units")
    facts = [f"KL {kl:.3g} nats"] if kl is not None else []
    if active is not None:
        one = t("{count} active latent dimension", count=active)
        facts.append(one if active == 1 else t("{count} active latent dimensions", count=active))
    return t(
        "posterior collapse ({facts}): the decoder generates almost the same x for all latents: "
        "{remedies}",
        facts=", ".join(facts),
        remedies=list_remedies(numbers, t),
    )


def _judge_prior(numbers: Mapping[str, Any], t: Translate) -> Iterator[str]:
    """Say if samples of p(z) are latents that the decoder was not trained on."""
    distance = numbers.get("aggregate_kl_bound")
    if distance is None or distance <= MAX_PRIOR_DISTANCE:
        return
    if numbers.get("sampler", "prior") != "prior":
        return
    sentence = t(
        "samples of p(z) are unusable: KL(q(z) || p(z)) is at least {distance:.4g} nats, so the "
        "decoder was not trained on them: sample with sampler=gmm",
        distance=distance,
    )
    has_weight = 0 < _final_weight(numbers) < 1
    yield sentence + (t(", or train with a larger kl.beta") if has_weight else "")


def _judge_scale(numbers: Mapping[str, Any], t: Translate) -> Iterator[str]:
    """Say if a fixed scale is far from the error, or a fitted one at its floor."""
    scale, rmse = numbers.get("decoder_scale"), numbers.get("rmse")
    if scale is None:
        return
    if numbers.get("scale_kind") == "fixed":
        if rmse and not 1 / MAX_SCALE_RATIO <= scale / rmse <= MAX_SCALE_RATIO:
            ratio, weight = scale / rmse, (scale / rmse) ** 2
            if ratio > 1:
                effect = t(
                    "the KL weighs {weight:.3g} times as much as with the scale of the errors, "
                    "which blurs",
                    weight=weight,
                )
            else:
                effect = t(
                    "the KL weighs only {weight:.2g} times as much as with the scale of the "
                    "errors, and the density is far below its best value",
                    weight=weight,
                )
            yield t(
                "the decoder scale {scale:.3g} is {ratio:.2g} times the RMSE {rmse:.3g}: {effect}: "
                "set loss.scale=learned, or loss.scale={rmse:.2g}",
                scale=scale,
                ratio=ratio,
                rmse=rmse,
                effect=effect,
            )
        return
    is_density = str(numbers.get("measure")).startswith("density")
    floor = numbers.get("scale_floor", MIN_DECODER_SCALE)
    if not is_density or scale >= 1.01 * floor:
        return
    sentence = t(
        "the decoder scale has reached its floor of {floor:.3g}, and the floor determines the "
        "density: do not compare it with other runs",
        floor=floor,
    )
    remedies = {"levels": "data.dequantize=true", "binary": "loss=bce"}
    remedy = remedies.get(str(numbers.get("pixels")))
    yield sentence + (t(", or set {remedy}", remedy=remedy) if remedy else "")


def _judge_aggregate(numbers: Mapping[str, Any], t: Translate) -> Iterator[str]:
    """Say if the terms of q(z) are beyond what they can measure."""
    information, kl = numbers.get("mutual_information"), numbers.get("kl")
    limit = numbers.get("mutual_information_limit")
    is_at_limit = (
        information is not None
        and limit is not None
        and kl is not None
        and information > limit - LIMIT_TOLERANCE
        and kl > limit
    )
    if is_at_limit:
        yield t(
            "the mutual information {information:.2f} is at its limit ln N = {limit:.2f}: the "
            "latents distinguish all images, and what exceeds ln N of the KL {kl:.2f} is counted "
            "as KL(q(z) || p(z))",
            information=information,
            limit=limit,
            kl=kl,
        )
    correlation = numbers.get("total_correlation")
    if correlation is not None and correlation < 0:
        yield t(
            "the total correlation {correlation:.2g} is an estimate from one sample per image, "
            "whose noise may make it negative; the exact one is not",
            correlation=correlation,
        )


def _final_weight(numbers: Mapping[str, Any]) -> float:
    """Return the final weight of the KL in the loss, 1 if it is not recorded."""
    return numbers.get("final_weight", 1.0)
