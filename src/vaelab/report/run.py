"""The page of a run: <run>/report.html."""

from pathlib import Path
from typing import Any

from vaelab.report import page
from vaelab.report.curves import panels
from vaelab.report.drawing import LAYOUTS, compose
from vaelab.report.folder import RunFolder, plain
from vaelab.report.images import embed_images
from vaelab.report.numbers import (
    RECORD,
    format_number,
    format_short,
    measured,
    number_lines,
    warnings,
    with_error,
)
from vaelab.runtime.metric_names import METRICS

SHOWN = ("split", "images", "samples", "checkpoint")  # of an evaluation, before its numbers
MAIN = ("experiment", "model", "posterior", "prior", "loss", "objective", "data")
HEADLINE = {
    "elbo": "ELBO",
    "nll": "NLL",
    "reconstruction": "reconstruction",
    "kl": "KL",
    "rmse": "RMSE of a pixel",
}


def write_run_report(folder: Path) -> Path:
    """Make the page of a run folder from what is in it."""
    run = RunFolder.read(folder)
    pictures, missing = embed_images([(path, folder) for path in run.pictures])
    return page.render_page(
        folder,
        "run.html",
        run=run,
        title=_title(run),
        headline=_headline(run.numbers),
        warnings=warnings(run.numbers),
        model=compose(run),
        layouts=LAYOUTS,
        panels=panels(run.rows),
        pictures=list(pictures.values()),
        missing=[path.relative_to(folder).as_posix() for path in missing],
        numbers=number_lines(run.numbers, run.cfg.get("latent_dim")),
        measured=measured(run.numbers) if run.numbers else "",
        bars=_bars(run.numbers.get("kl_per_dimension")),
        evaluations=list(run.evaluations),
        evaluated=_table(run.evaluations),
        absent=_absent(run.evaluations),
        choices=_choices(run),
        config=_config(folder),
    )


def _title(run: RunFolder) -> list[str]:
    """The choices that say most."""
    words = [run.options[group] for group in MAIN if group in run.options] or [run.name]
    return [*(f"{word} ·" for word in words[:-1]), words[-1]]


def _headline(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    shown = [(key, title) for key, title in HEADLINE.items() if numbers.get(key) is not None]
    errors = {"nll": numbers.get("nll_se")}
    return [(title, with_error(numbers[key], errors.get(key))) for key, title in shown]


def _bars(values: list[float] | None) -> list[tuple[str, float, str]]:
    """The KL of each latent dimension, the largest first: number, height in per cent, and words."""
    numbered = [(value, n) for n, value in enumerate(values or []) if value is not None]
    largest = max((value for value, _ in numbered), default=0.0) or 1.0
    return [
        (
            format_number(value, 3),
            round(100 * max(value, 0.0) / largest, 1),
            f"dimension {n}: {format_number(value)}",
        )
        for value, n in sorted(numbered, reverse=True)
    ]


def _table(evaluations: dict[str, dict[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """Title, unit and the value in each evaluation, of every number that one of them has."""
    keys = dict.fromkeys(key for numbers in evaluations.values() for key in numbers)
    known = [key for key in (*SHOWN, *METRICS) if key in keys]
    rows = []
    for key in [*known, *(key for key in keys if key not in {*known, *RECORD})]:
        values = [_value(key, numbers) for numbers in evaluations.values()]
        if any(values):
            title, unit, _ = METRICS.get(key, (key.replace("_", " "), "", ""))
            rows.append((title, unit, values))
    return rows


def _value(key: str, numbers: dict[str, Any]) -> str:
    if key not in numbers or isinstance(numbers[key], dict):
        return ""
    if key == "nll":
        return with_error(numbers["nll"], numbers.get("nll_se"))
    return format_number(numbers[key])


def _absent(evaluations: dict[str, dict[str, Any]]) -> list[str]:
    """What an evaluation was asked for and could not do, with its reason."""
    found = [numbers.get("absent") for numbers in evaluations.values()]
    reasons = [reason for each in found if isinstance(each, dict) for reason in each.items()]
    return [f"{name}: {reason}" for name, reason in dict(reasons).items()]


def _choices(run: RunFolder) -> list[tuple[str, str, list[tuple[str, bool]]]]:
    """Group, option and settings, each with whether it was typed; at last the keys of no group."""
    rows = [
        (group, option, _marked(run.settings(group), run.choices, f"{group}."))
        for group, option in sorted(run.options.items())
    ]
    loose = _marked(plain(run.cfg), run.choices)
    return [*rows, *([("", "", loose)] if loose else [])]


def _marked(
    settings: dict[str, Any], typed: dict[str, str], group: str = ""
) -> list[tuple[str, bool]]:
    return [
        (f"{key}={format_short(value)}", f"{group}{key}" in typed)
        for key, value in settings.items()
    ]


def _config(folder: Path) -> str:
    path = folder / ".hydra" / "config.yaml"
    return path.read_text(errors="replace") if path.is_file() else ""
