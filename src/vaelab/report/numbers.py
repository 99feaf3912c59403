"""What the numbers of metrics.json are called, their units, and what they say of a run."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vaelab.runtime.metric_names import METRICS, NATS_PER_IMAGE

MEASURES = {
    "probability": "log p(x) is a log probability of the pixels as they are.",
    "density": "log p(x) is a log density: it may be positive, and only the same pixels compare.",
    "grey": "A Bernoulli of grey pixels is no likelihood: there is no NLL, and its ELBO compares "
    "with runs of the same loss only.",
}
RECORD = {  # what metrics.json says about the run and not about the model
    *("split", "images", "measure", "samples", "nll_se", "bits_sha256", "kl_per_dimension"),
    *("pixels", "shape", "step", "monitor", "seed", "epochs", "steps", "wall_s", "parameters"),
    *("choices", "command", "git", "versions", "parameters_of", "encoder_outputs"),
    *("decoder_outputs", "checkpoint"),
}
COLLAPSED = 0.1  # nats; codes that cost less say next to nothing
FLOOR = 1 / 256  # of a scale, in units of a pixel; likelihoods/scaled.py


@dataclass(frozen=True)
class NumberLine:
    """A line of the table of numbers."""

    title: str
    value: str
    unit: str
    meaning: str


def number_lines(numbers: dict[str, Any], latent_dim: int | None = None) -> list[NumberLine]:
    """The numbers of a run in the order of TITLES, then those that have no title."""
    known = [key for key in METRICS if key in numbers]
    others = [key for key in numbers if key not in METRICS and key not in RECORD]
    return [_line(key, numbers, latent_dim) for key in [*known, *others]]


def _line(key: str, numbers: dict[str, Any], latent_dim: int | None) -> NumberLine:
    title, unit, meaning = METRICS.get(key) or _untitled(key, numbers)
    value = format_number(numbers[key])
    if key == "nll":
        value = with_error(numbers["nll"], numbers.get("nll_se"))
        meaning += f", {numbers.get('samples')} samples; ± is the standard error over images"
    if key == "active_units" and latent_dim:
        unit = f"of {latent_dim} dimensions"
    return NumberLine(title, value, unit, meaning)


def _untitled(key: str, numbers: dict[str, Any]) -> tuple[str, str, str]:
    if key == str(numbers.get("monitor")).replace("/", "_"):
        return (
            str(numbers["monitor"]),
            NATS_PER_IMAGE,
            "the best of the validations, which best.ckpt is of",
        )
    if key.startswith("kl_layer_"):
        return (
            f"KL of layer {key.removeprefix('kl_layer_')}",
            NATS_PER_IMAGE,
            "of several stochastic layers",
        )
    return key.replace("_", " "), "", ""


def measured(numbers: dict[str, Any]) -> str:
    """What was measured, on which images."""
    measure, _, given = str(numbers.get("measure", "")).partition(" given ")
    split = f"{numbers.get('images', '?')} {numbers.get('split', '')} images, "
    pixels = f"{numbers.get('pixels', '?')} pixels of {sizes(numbers.get('shape'))}."
    condition = f" All of it is given {given}." if given else ""
    return f"{split}{pixels} {MEASURES.get(measure, '')}{condition}"


def warnings(numbers: dict[str, Any]) -> list[str]:
    """What is wrong with a run, as far as its numbers say."""
    found = []
    if broken := [key for key in numbers if key in METRICS and numbers[key] is None]:
        names = ", ".join(METRICS[key][0] for key in broken)
        found.append(f"Not finite: {names}. The run diverged: lower optimizer.lr.")
    if collapsed(numbers):
        found.append(_collapse(numbers))
    scale = numbers.get("decoder_scale")
    undequantized = numbers.get("pixels") in ("levels", "binary")
    density = str(numbers.get("measure")).startswith("density")
    if density and undequantized and scale is not None and scale < 1.01 * FLOOR:
        found.append(
            "The decoder scale lies at its floor of one level: the density of undequantized pixels "
            "grows without end. Set data.dequantize=true, or compare with nothing."
        )
    return found


def collapsed(numbers: dict[str, Any]) -> bool:
    """Whether z says next to nothing about x."""
    kl, active = numbers.get("kl"), numbers.get("active_units")
    return active == 0 or (kl is not None and kl < COLLAPSED)


def _collapse(numbers: dict[str, Any]) -> str:
    kl, active = numbers.get("kl"), numbers.get("active_units")
    cost = f"The codes cost {format_number(kl, 3)} nats, " if kl is not None else ""
    scale = (
        ", or a smaller scale of p(x|z), as loss=gaussian learns"
        if "decoder_scale" in numbers
        else ""
    )
    return (
        f"Posterior collapse. {cost}{active} dimensions are active: the decoder makes nearly the "
        f"same of every image. Try kl=warmup, a smaller kl.beta{scale}."
    )


def format_number(value: Any, digits: int = 5) -> str:
    """A number as it is read: -110.80, 20, 1.2e-05; words as they are."""
    if value is None:
        return "not finite"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return format_short(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")
    text = f"{value:#.{digits}g}" if abs(value) >= 1 else f"{value:.{digits - 1}g}"
    return _minus(text.rstrip("."))


def rounded(value: float, places: int) -> str:
    """A number of a column or an axis, all of which have the same places."""
    return _minus(f"{value:,.{places}f}".replace(",", "\N{NARROW NO-BREAK SPACE}"))


def with_error(value: float | None, error: float | None) -> str:
    """A mean with its standard error, to the error's second digit."""
    if value is None or error is None or not math.isfinite(error):
        return format_number(value)
    if error == 0:
        return f"{_minus(f'{value:g}')} ± 0"
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{_minus(f'{value:.{places}f}')} ± {error:.{places}f}"


def format_short(value: Any, most: int = 8) -> str:
    """A value of a config: [32, 64], null, adam."""
    if isinstance(value, list | tuple):
        text = ", ".join(format_short(each) for each in value[:most])
        return f"[{text}{', ...' if len(value) > most else ''}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return _minus(f"{value:g}") if isinstance(value, float) else str(value)


def sizes(shape: Any) -> str:
    """The edges of a shape, as in 1 by 28 by 28."""
    return "\N{MULTIPLICATION SIGN}".join(map(str, shape)) if isinstance(shape, Iterable) else "?"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}") if "e" not in text else text
