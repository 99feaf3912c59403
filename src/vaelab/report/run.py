"""The report of a run: <run>/report.html."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.report import page
from vaelab.report.curves import make_curve_panels, make_kl_chart
from vaelab.report.drawing import LAYOUTS, make_model_diagram
from vaelab.report.folder import RunFolder, select_plain_values
from vaelab.report.images import embed_images
from vaelab.report.numbers import (
    describe_measurement,
    format_number,
    format_setting,
    format_shape,
    format_with_error,
    make_metric_rows,
)
from vaelab.runs.metrics_file import EvaluationNumbers
from vaelab.runs.untrusted import read_message
from vaelab.runs.verdicts import find_verdicts
from vaelab.runtime.language import Translate
from vaelab.runtime.metric_names import Metric, get_metric, name_data, name_data_in

MAX_SHOWN_CONFIG = 100_000  # characters
FIRST_KEYS = ("split", "images", "samples", "checkpoint")  # shown before the metrics
CURVES = "curves.png"  # the figure of the curves, which the charts show already
TITLE_GROUPS = ("experiment", "model", "posterior", "prior", "loss", "objective", "data")
DATA_COUNTS = ("constant", "duplicates", "shared")  # of data.json
HEADLINE_KEYS = ("elbo", "nll", "reconstruction", "kl", "rmse")


def write_run_report(folder: Path, t: Translate) -> Path:
    """Write report.html of a run folder from the files in it, and return its path.

    Raises:
        UserError: If a link leads out of the folder.
    """
    run = RunFolder.load(folder)
    t = name_data_in(t, run.shape)
    paths = [(path, folder) for path in run.images if not (run.rows and path.name == CURVES)]
    images, missing = embed_images(paths, t, run.shape)
    return page.render_page(
        folder,
        "run.html",
        t,
        run=run,
        title=_make_title(run),
        headline=_make_headline(run.numbers, t),
        warnings=[
            *_list_texts(run.data.get("warnings")),
            *(_make_sentence(words, run.shape, t) for words in find_verdicts(run.numbers, t)),
        ],
        data_rows=_make_data_rows(run.data, t),
        model=make_model_diagram(run, t),
        layouts=LAYOUTS,
        panels=make_curve_panels(run.rows, run.shape, t),
        images=list(images.values()),
        missing=[path.relative_to(folder).as_posix() for path in missing],
        metric_rows=make_metric_rows(
            [run.numbers], latent_dim=run.cfg.get("latent_dim"), translate=t
        ),
        measurement=describe_measurement(run.numbers, t) if run.numbers else "",
        kl_chart=make_kl_chart(run.numbers.get("kl_per_dimension"), t),
        evaluations=list(run.evaluations),
        evaluation_rows=make_metric_rows(list(run.evaluations.values()), FIRST_KEYS, translate=t),
        absent=_list_absent_parts(run.evaluations),
        choices=_make_choice_rows(run),
        config=_read_config(folder),
    )


def _make_sentence(words: str, shape: Any, t: Translate) -> str:
    """Give words about numbers a capital letter and a full stop."""
    return name_data(f"{words[:1].upper()}{words[1:]}{t('.')}", shape)


def _make_title(run: RunFolder) -> list[str]:
    """Return the options of TITLE_GROUPS, or the name of the folder, word by word."""
    words = [run.options[group] for group in TITLE_GROUPS if group in run.options] or [run.name]
    return [*(f"{word} ·" for word in words[:-1]), words[-1]]


def _make_headline(numbers: Mapping[str, Any], t: Translate) -> list[tuple[Metric, str]]:
    """Return the main metrics and their values."""
    present = [key for key in HEADLINE_KEYS if numbers.get(key) is not None]
    return [
        (
            get_metric(key, translate=t),
            format_with_error(numbers[key], numbers.get(f"{key}_se")),
        )
        for key in present
    ]


def _list_absent_parts(evaluations: Mapping[str, EvaluationNumbers]) -> list[str]:
    """Return the requested parts of evaluations that could not be computed, with the reasons."""
    tables = [numbers.get("absent") for numbers in evaluations.values()]
    reasons = [item for table in tables if isinstance(table, dict) for item in table.items()]
    return [f"{name}: {reason}" for name, reason in dict(reasons).items()]


def _make_data_rows(data: Mapping[str, Any], t: Translate) -> list[tuple[str, str]]:
    """Return the titles and texts of the table of what was read before the training."""
    if not data:
        return []
    sizes = data.get("sizes")
    counts = sizes.items() if isinstance(sizes, dict) else ()
    low, high = format_setting(data.get("low")), format_setting(data.get("high"))
    kind = t(str(data.get("pixels")))
    examined = format_number(data.get("examined"))
    rows = [
        (t("images"), ", ".join(f"{format_number(count)} {t(name)}" for name, count in counts)),
        (t("shape"), format_shape(data.get("shape"))),
        (t("pixels"), t("{pixels} in [{low}, {high}]", pixels=kind, low=low, high=high)),
        (t("labels"), str(data.get("labels"))),
        (
            t("of {examined} examined", examined=examined),
            t(
                "{constant} constant, {duplicates} equal to an earlier one; {shared} test images "
                "are equal to one of them",
                **{key: format_number(data.get(key)) for key in DATA_COUNTS},
            ),
        ),
    ]
    return [*rows, *((t("read as"), text) for text in _list_texts(data.get("conversions")))]


def _list_texts(texts: Any) -> list[str]:
    return [str(text) for text in texts] if isinstance(texts, list) else []


def _make_choice_rows(run: RunFolder) -> list[tuple[str, str, list[tuple[str, bool]]]]:
    """Return the group, the option and the settings of each config group.

    Each setting has a flag that is True if it is an override. The last row has the settings that
    belong to no group.
    """
    rows = [
        (group, option, _mark_typed(run.get_settings(group), run.choices, f"{group}."))
        for group, option in sorted(run.options.items())
    ]
    top_level = _mark_typed(select_plain_values(run.cfg), run.choices)
    return [*rows, *([("", "", top_level)] if top_level else [])]


def _mark_typed(
    settings: dict[str, Any], typed: dict[str, str], prefix: str = ""
) -> list[tuple[str, bool]]:
    """Format settings, and pair each with True if the command line contains it."""
    return [
        (f"{key}={format_setting(value)}", f"{prefix}{key}" in typed)
        for key, value in settings.items()
    ]


def _read_config(folder: Path) -> str:
    return read_message(folder / ".hydra" / "config.yaml", MAX_SHOWN_CONFIG)
