"""The numbers of metrics.json as text: names, units, meanings and warnings."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vaelab.runs.untrusted import SENTENCES
from vaelab.runtime.metric_names import METRICS, NATS_PER_IMAGE

MEASURES = {
    "probability": "log p(x) is a log probability of discrete pixels.",
    "density": "log p(x) is a log density: it may be positive, and it is comparable only for the "
    "same kind of pixels.",
    "grey": "The Bernoulli likelihood treats grayscale pixels as probabilities and is not "
    "normalised: there is no NLL, and the ELBO is comparable only between runs with this loss.",
}
PROVENANCE_KEYS = {  # keys of metrics.json that describe the run or the evaluation, not the model
    *("split", "images", "measure", "samples", "bits_sha256", "kl_per_dimension"),
    *("pixels", "shape", "step", "monitor", "seed", "epochs", "steps", "wall_s", "parameters"),
    *("choices", "command", "git", "versions", "parameters_of", "encoder_outputs"),
    *("decoder_outputs", "checkpoint"),
}
COLLAPSE_KL = 0.1  # nats; with a smaller KL the posterior counts as collapsed
MIN_DECODER_SCALE = 1 / 256  # in units of a pixel; the default floor in likelihoods/scaled.py


@dataclass(frozen=True)
class MetricRow:
    """A row of the table of numbers."""

    title: str
    value: str
    unit: str
    meaning: str


def make_metric_rows(numbers: Mapping[str, Any], latent_dim: int | None = None) -> list[MetricRow]:
    """Return the numbers of a run in the order of METRICS, then those that are not in METRICS.

    Arguments:
        latent_dim: The number of latent dimensions, for the unit of active units.
    """
    known = [key for key in METRICS if key in numbers]
    hidden = {*METRICS, *PROVENANCE_KEYS, *(f"{key}_se" for key in METRICS)}
    others = [key for key in numbers if key not in hidden]
    return [_make_row(key, numbers, latent_dim) for key in [*known, *others]]


def _make_row(key: str, numbers: Mapping[str, Any], latent_dim: int | None) -> MetricRow:
    if key in METRICS:
        metric = METRICS[key]
        title, unit, meaning = metric.name, metric.unit, metric.meaning
    else:
        title, unit, meaning = _describe_unknown_key(key, numbers)
    value = format_with_error(numbers[key], numbers.get(f"{key}_se"))
    if key == "nll":
        meaning += (
            f" {numbers.get('samples')} importance samples; ± is the standard error over images."
        )
    if key == "active_units" and latent_dim:
        unit = f"of {latent_dim} dimensions"
    return MetricRow(title, value, unit, meaning)


def _describe_unknown_key(key: str, numbers: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the title, unit and meaning of a key that is not in METRICS."""
    if key == str(numbers.get("monitor")).replace("/", "_"):
        meaning = "The value on the validation images, of the weights of best.ckpt."
        return str(numbers["monitor"]), NATS_PER_IMAGE, meaning
    if key.startswith("kl_layer_"):
        number = key.removeprefix("kl_layer_")
        return (
            f"KL of layer {number}",
            NATS_PER_IMAGE,
            "The KL of one of several stochastic layers.",
        )
    return key.replace("_", " "), "", ""


def describe_measurement(numbers: Mapping[str, Any]) -> str:
    """Describe the images, the pixels and the kind of log p(x) of an evaluation."""
    measure, _, condition = str(numbers.get("measure", "")).partition(" given ")
    images = f"{numbers.get('images', '?')} {numbers.get('split', '')} images, "
    pixels = f"{numbers.get('pixels', '?')} pixels of {format_shape(numbers.get('shape'))}."
    conditional = f" All numbers are conditional on {condition}." if condition else ""
    return f"{images}{pixels} {MEASURES.get(measure, '')}{conditional}"


def find_warnings(numbers: Mapping[str, Any]) -> list[str]:
    """Return warnings about non-finite metrics, posterior collapse and an unbounded density."""
    found = [str(numbers[key]) for key in SENTENCES if key in numbers]
    if broken := [key for key in numbers if key in METRICS and numbers[key] is None]:
        names = ", ".join(METRICS[key].name for key in broken)
        found.append(f"Non-finite metrics: {names}. The training diverged: lower optimizer.lr.")
    if is_collapsed(numbers):
        found.append(_describe_collapse(numbers))
    scale = numbers.get("decoder_scale")
    is_discrete = numbers.get("pixels") in ("levels", "binary")
    is_density = str(numbers.get("measure")).startswith("density")
    is_at_floor = scale is not None and scale < 1.01 * MIN_DECODER_SCALE
    if is_density and is_discrete and is_at_floor:
        found.append(
            "The decoder scale has reached its floor of one pixel level: the density of discrete "
            "pixels is unbounded, and the floor determines its value. Set data.dequantize=true, or "
            "do not compare this density with that of other runs."
        )
    return found


def is_collapsed(numbers: Mapping[str, Any]) -> bool:
    """True if the latents carry almost no information: no active units, or KL < COLLAPSE_KL."""
    kl, active = numbers.get("kl"), numbers.get("active_units")
    return active == 0 or (kl is not None and kl < COLLAPSE_KL)


def _describe_collapse(numbers: Mapping[str, Any]) -> str:
    kl, active = numbers.get("kl"), numbers.get("active_units")
    facts = [f"KL {format_number(kl, 3)} nats"] if kl is not None else []
    if active is not None:
        facts.append(f"{active} active latent dimension{'s' * (active != 1)}")
    learned_scale = (
        ", or a smaller scale of p(x|z), for example a learned one (loss=gaussian)"
        if "decoder_scale" in numbers
        else ""
    )
    return (
        f"Posterior collapse ({', '.join(facts)}): the decoder generates almost the same image for "
        f"all latents. Try kl=warmup, a smaller kl.beta{learned_scale}."
    )


def format_number(value: Any, digits: int = 5) -> str:
    """Format a number with `digits` significant digits, and other values like format_setting.

    -110.80, 20, 1.2e-05; None, which stands for NaN and infinity, is "non-finite".
    """
    if value is None:
        return "non-finite"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return format_setting(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")
    text = f"{value:#.{digits}g}" if abs(value) >= 1 else f"{value:.{digits - 1}g}"
    return _replace_minus(text.rstrip("."))


def format_rounded(value: float, decimals: int) -> str:
    """Format a number with a fixed number of decimals, for a column or an axis."""
    return _replace_minus(f"{value:,.{decimals}f}".replace(",", "\N{NARROW NO-BREAK SPACE}"))


def format_with_error(value: float | None, error: float | None) -> str:
    """Format a mean and its standard error with two significant digits of the error: 104.8 ± 1.2"""
    if value is None or error is None or not math.isfinite(error):
        return format_number(value)
    if error == 0:
        return f"{_replace_minus(f'{value:g}')} ± 0"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{_replace_minus(f'{value:.{decimals}f}')} ± {error:.{decimals}f}"


def format_setting(value: Any, max_items: int = 8) -> str:
    """Format a value of a config as in yaml: [32, 64], null, adam."""
    if isinstance(value, list | tuple):
        text = ", ".join(format_setting(item) for item in value[:max_items])
        return f"[{text}{', ...' if len(value) > max_items else ''}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return _replace_minus(f"{value:g}") if isinstance(value, float) else str(value)


def format_shape(shape: Any) -> str:
    """Join the sizes of a shape with multiplication signs; anything else becomes "?"."""
    return "\N{MULTIPLICATION SIGN}".join(map(str, shape)) if isinstance(shape, Iterable) else "?"


def format_duration(seconds: float | None) -> str:
    """Format a duration in hours and minutes, minutes and seconds, or seconds."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _replace_minus(text: str) -> str:
    """Replace hyphens by minus signs, except in scientific notation."""
    return text.replace("-", "\N{MINUS SIGN}") if "e" not in text else text
