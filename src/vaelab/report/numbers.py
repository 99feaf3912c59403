"""The numbers of metrics.json as text: names, units, meanings and warnings."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaelab.runs.metrics_file import describe_images
from vaelab.runs.untrusted import SENTENCES
from vaelab.runtime.language import TO_ENGLISH, Translate
from vaelab.runtime.metric_names import METRICS, OTHER_METRICS, Metric, get_metric, name_data

MEASURES = {
    "probability": "log p(x) is a log probability of discrete pixels.",
    "density": "log p(x) is a log density: it may be positive, and it is comparable only for the "
    "same kind of pixels.",
    "grey": "The Bernoulli likelihood treats grayscale pixels as probabilities and is not "
    "normalised: there is no NLL, and the ELBO is comparable only between runs with this loss.",
}
HIDDEN_KEYS = {  # keys of metrics.json and numbers.json that have no row in the tables of metrics
    *("split", "images", "measure", "samples", "bits_sha256", "kl_per_dimension", "all_images"),
    *("pixels", "shape", "step", "monitor", "seed", "epochs", "steps", "step_images", "wall_s"),
    *("choices", "command", "git", "versions", "threads", "parameters", "parameters_of"),
    *("encoder_outputs", "decoder_outputs", "checkpoint", "scale_kind", "scale_floor"),
    *("kl_weighting", "final_weight", "resumed", "asked", "parts", "absent", "features"),
    *("sampler", "temperature", "compared", "nearest_compared", "ssim_window", "ais_chains"),
    *("ais_temperatures", "factor_images", *SENTENCES),
}
FEATURE_KEYS = ("fid", "fid_reconstructions", "fid_floor", "kid", "precision", "recall")
FEATURE_KEYS += ("density", "coverage")  # computed from the outputs of the network `features`


@dataclass(frozen=True)
class MetricRow:
    """A row of a table of numbers.

    Attributes:
        values: The formatted value of each column, empty where it is missing.
    """

    metric: Metric
    values: list[str]


def make_metric_rows(
    columns: Sequence[Mapping[str, Any]],
    first_keys: Sequence[str] = (),
    latent_dim: int | None = None,
    translate: Translate = TO_ENGLISH,
) -> list[MetricRow]:
    """Return the rows of a table of numbers: in the order of METRICS, then unknown keys.

    Arguments:
        columns: The numbers of a run or of one evaluation each.
        first_keys: The keys of HIDDEN_KEYS that nevertheless have a row, above the others.
        latent_dim: The number of latent dimensions, for the unit of active units.
    """
    present = dict.fromkeys(key for numbers in columns for key in numbers)
    hidden = HIDDEN_KEYS | {f"{key}_se" for key in {**METRICS, **OTHER_METRICS}}
    keys = dict.fromkeys([*METRICS, *OTHER_METRICS, *present])
    shown = [key for key in first_keys if key in present]
    shown += [key for key in keys if key in present and key not in hidden]
    rows = [_make_row(key, columns, latent_dim, translate) for key in shown]
    return [row for row in rows if any(row.values)]


def _make_row(
    key: str, columns: Sequence[Mapping[str, Any]], latent_dim: int | None, t: Translate
) -> MetricRow:
    metric = get_metric(key, shape=columns[0].get("shape"), translate=t)
    if key == "nll" and len(columns) == 1:
        words = t(
            " {samples} importance samples; ± is the standard error over the data.",
            samples=columns[0].get("samples"),
        )
        metric = metric._replace(meaning=f"{metric.meaning}{words}")
    if key == "active_units" and latent_dim:
        metric = metric._replace(unit=t("of {count} dimensions", count=latent_dim))
    return MetricRow(metric, [_format_value(key, numbers) for numbers in columns])


def _format_value(key: str, numbers: Mapping[str, Any]) -> str:
    """Format a number with its standard error, and with the network whose features it compares."""
    if key not in numbers or isinstance(numbers[key], dict):
        return ""
    text = format_with_error(numbers[key], numbers.get(f"{key}_se"))
    return (
        f"{text} ({numbers['features']})"
        if key in FEATURE_KEYS and numbers.get("features")
        else text
    )


def describe_measurement(numbers: Mapping[str, Any], t: Translate) -> str:
    """Describe the images, the pixels and the kind of log p(x) of an evaluation."""
    measure, _, condition = str(numbers.get("measure", "")).partition(" given ")
    images = t("{images}, ", images=describe_images(numbers, t)) if "images" in numbers else ""
    is_table = isinstance(shape := numbers.get("shape"), list) and len(shape) == 1
    pixels = t(
        "{pixels} values in {shape} columns." if is_table else "{pixels} pixels of {shape}.",
        pixels=t(str(numbers.get("pixels", "?"))),
        shape=format_shape(shape),
    )
    about = t("All numbers are conditional on {condition}.", condition=t(condition))
    conditional = f" {about}" if condition else ""
    words = f"{images}{pixels} {t(MEASURES.get(measure, ''))}{conditional}"
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


def format_with_error(value: Any, error: Any, decimals: int | None = None) -> str:
    """Format a mean and its standard error: 104.8 ± 1.2.

    Arguments:
        decimals: The decimals of both; None chooses two significant digits of the error.
    """
    numbers = (value, error)
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        if decimals is None or not isinstance(value, int | float):
            return format_number(value)
        return format_rounded(value, decimals)
    if decimals is None and error == 0:
        return f"{_replace_minus(f'{value:g}')} ± 0"
    if decimals is None:
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
