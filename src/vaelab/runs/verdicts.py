"""Sentences about the numbers of a run or an evaluation that do not mean what they seem to mean.

A verdict names its cause, and never advises a setting that the run already has.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vaelab.runs.untrusted import SENTENCES
from vaelab.runtime.metric_names import METRICS

COLLAPSED_KL = 0.1  # nats; the mutual information is at most the KL
MAX_PRIOR_DISTANCE = 10.0  # nats from q(z) to p(z), above which samples of p(z) are unusable
MAX_SCALE_RATIO = 3.0  # between the decoder scale and the RMSE
MIN_DECODER_SCALE = 1 / 256  # the floor of runs that did not record it
LIMIT_TOLERANCE = 0.05  # nats below ln N at which the mutual information is at its limit


def find_verdicts(numbers: Mapping[str, Any]) -> list[str]:
    """Return the sentences about metrics.json or numbers.json, without a full stop."""
    found = [str(numbers[key]) for key in SENTENCES if numbers.get(key) is not None]
    if broken := [key for key in METRICS if key in numbers and numbers[key] is None]:
        names = ", ".join(METRICS[key].name for key in broken)
        found.append(f"non-finite metrics: {names}. The training diverged: lower optimizer.lr")
    if "collapse" not in numbers and is_collapsed(numbers):
        found.append(_describe_collapse(numbers))
    found += _judge_prior(numbers)
    found += _judge_scale(numbers)
    found += _judge_aggregate(numbers)
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


def list_remedies(numbers: Mapping[str, Any]) -> str:
    """Return what may prevent a collapse, without what is set already."""
    chosen = numbers.get("kl_weighting")
    options = [f"kl={option}" for option in ("warmup", "free_bits") if option != chosen]
    remedies = options if chosen is not None else []
    if chosen is not None and _final_weight(numbers) > 0:
        remedies.append("a smaller kl.beta")
    if numbers.get("scale_kind") == "fixed":
        remedies.append("loss.scale=learned")
    return f"try {' or '.join(remedies or ['a larger optimizer.lr'])}"


def _describe_collapse(numbers: Mapping[str, Any]) -> str:
    kl, active = numbers.get("kl"), numbers.get("active_units")
    facts = [f"KL {kl:.3g} nats"] if kl is not None else []
    if active is not None:
        facts.append(f"{active} active latent dimension{'s' * (active != 1)}")
    return (
        f"posterior collapse ({', '.join(facts)}): the decoder generates almost the same x for all "
        f"latents: {list_remedies(numbers)}"
    )


def _judge_prior(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Say if samples of p(z) are latents that the decoder was not trained on."""
    distance = numbers.get("aggregate_kl_bound")
    if distance is None or distance <= MAX_PRIOR_DISTANCE:
        return
    if numbers.get("sampler", "prior") != "prior":
        return
    has_weight = 0 < _final_weight(numbers) < 1
    larger = ", or train with a larger kl.beta" if has_weight else ""
    yield (
        f"samples of p(z) are unusable: KL(q(z) || p(z)) is at least {distance:.4g} nats, so the "
        f"decoder was not trained on them: sample with sampler=gmm{larger}"
    )


def _judge_scale(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Say if a fixed scale is far from the error, or a fitted one at its floor."""
    scale, rmse = numbers.get("decoder_scale"), numbers.get("rmse")
    if scale is None:
        return
    if numbers.get("scale_kind") == "fixed":
        if rmse and not 1 / MAX_SCALE_RATIO <= scale / rmse <= MAX_SCALE_RATIO:
            ratio = scale / rmse
            effect = (
                f"the KL weighs {ratio**2:.3g} times as much as with the scale of the errors, "
                "which blurs"
                if ratio > 1
                else f"the KL weighs only {ratio**2:.2g} times as much as with the scale of the "
                "errors, and the density is far below its best value"
            )
            yield (
                f"the decoder scale {scale:.3g} is {ratio:.2g} times the RMSE {rmse:.3g}: {effect}:"
                f" set loss.scale=learned, or loss.scale={rmse:.2g}"
            )
        return
    is_density = str(numbers.get("measure")).startswith("density")
    floor = numbers.get("scale_floor", MIN_DECODER_SCALE)
    if not is_density or scale >= 1.01 * floor:
        return
    remedies = {"levels": "set data.dequantize=true, or do", "binary": "set loss=bce, or do"}
    yield (
        f"the decoder scale has reached its floor of {floor:.3g}, and the floor determines the "
        f"density: {remedies.get(str(numbers.get('pixels')), 'do')} not compare it with other runs"
    )


def _judge_aggregate(numbers: Mapping[str, Any]) -> Iterator[str]:
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
        yield (
            f"the mutual information {information:.2f} is at its limit ln N = {limit:.2f}: the "
            f"latents distinguish all images, and what exceeds ln N of the KL {kl:.2f} is counted "
            "as KL(q(z) || p(z))"
        )
    correlation = numbers.get("total_correlation")
    if correlation is not None and correlation < 0:
        yield (
            f"the total correlation {correlation:.2g} is an estimate from one sample per image, "
            "whose noise may make it negative; the exact one is not"
        )


def _final_weight(numbers: Mapping[str, Any]) -> float:
    """Return the final weight of the KL in the loss, 1 if it is not recorded."""
    return numbers.get("final_weight", 1.0)
