"""The numbers of metrics.json as text: names, units, meanings and warnings."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vaelab.runs.untrusted import SENTENCES
from vaelab.runtime.metric_names import METRICS, NATS_PER_IMAGE, name_data

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
    *(
        "decoder_outputs",
        "checkpoint",
        "scale_kind",
        "scale_floor",
        "kl_weighting",
        "final_weight",
        "latent_images",
    ),
    *SENTENCES,
}


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
    shape = numbers.get("shape")
    title, unit, meaning = (name_data(text, shape) for text in (title, unit, meaning))
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
    words = f"{images}{pixels} {MEASURES.get(measure, '')}{conditional}"
    return name_data(words, numbers.get("shape"))


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
