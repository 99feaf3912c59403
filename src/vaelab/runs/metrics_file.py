"""The numbers of a run (metrics.json) and of an evaluation (numbers.json): types, files, tables."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

from vaelab.runs.untrusted import read_numbers
from vaelab.runs.verdicts import find_verdicts
from vaelab.runtime.files import atomic_write
from vaelab.runtime.language import TO_ENGLISH, Translate
from vaelab.runtime.metric_names import METRICS, get_metric, name_data

DISENTANGLEMENT = (
    *("mig", "sap", "dci_disentanglement", "dci_completeness", "dci_informativeness"),
    "factor_vae",
)
EXPLANATION = "ELBO <= log p(x), higher is better; NLL >= -log p(x), lower is better."


class LikelihoodNumbers(TypedDict, total=False):
    """Numbers that both files have. Numbers that do not apply to the model are missing.

    `vaelab.runtime.metric_names` has the units and the meaning of the metrics. NaN and infinity are
    None.

    Attributes:
        split: train, val or test.
        images: The number of images.
        all_images: The number of images of the split.
        measure: What log p(x) is, see `vaelab.evaluation.likelihood.describe_measure`.
        pixels: binary, levels, dequantized, real, count or mixed.
        shape: The shape of an image.
        step: The optimizer steps taken.
        samples: The number of importance samples of the NLL.
        elbo_se, nll_se: The standard errors of elbo and nll over images.
        kl_per_dimension: The KL of each latent dimension in nats per image.
        bits_sha256: The SHA-256 of the binarized pixels.
        observed: The fraction of observed values, of data with missing values.
        scale_kind: How the scale of p(x|z) is set, if it has one: fixed, learned, column, optimal
            or pixel.
        scale_floor: The lowest scale of p(x|z), averaged over pixels where it differs.
        kl_weighting: The option of kl=, if the loss has a weighted KL.
        final_weight: Its weight of the KL at the end of a training that is long enough.
        density_warning: A sentence, if log p(z) is an estimate.
        choices: The chosen option of each config group.
        command: The command that computed the numbers.
        git, versions, threads: Provenance, see `vaelab.runs.provenance.collect_provenance`.
    """

    split: str
    images: int
    all_images: int
    measure: str
    pixels: str
    shape: Sequence[int]
    step: int
    elbo: float | None
    elbo_se: float | None
    elbo_exact: float | None
    reconstruction: float | None
    kl: float | None
    kl_per_dimension: list[float | None]
    nll: float | None
    nll_se: float | None
    samples: int
    bits_per_dim: float | None
    observed: float
    nll_per_entry: float | None
    active_units: int
    active_layers: int
    rmse: float | None
    decoder_scale: float | None
    implied_scale: float | None
    aggregate_kl_bound: float | None
    scale_kind: str
    scale_floor: float
    kl_weighting: str
    final_weight: float
    density_warning: str
    bits_sha256: str
    choices: dict[str, str]
    command: str
    git: dict[str, Any] | None
    threads: int
    versions: dict[str, str]


class RunMetrics(LikelihoodNumbers, total=False):
    """The numbers of metrics.json, which a run writes at its end.

    There are also kl_layer_1, kl_layer_2, ... for several stochastic layers, and the value of
    the monitored metric at the kept weights, for example val_elbo.

    Attributes:
        monitor: The metric by which runs are compared, for example val/elbo.
        weight_warning: A sentence, if the weight of the KL never reached its final value.
        step_images: The images of an optimizer step: data.batch_size times
            trainer.accumulate_grad_batches.
        wall_s: The duration of the training in seconds.
        resumed: The steps at which the training was resumed.
        skipped, restored: The number of optimizer steps with NaN or infinity that were skipped, or
            after which earlier weights were restored.
        parameters, parameters_of: The number of parameters of the model and of each of its parts.
        encoder_outputs, decoder_outputs: The number of outputs per latent dimension, and the shape
            of the outputs.
    """

    monitor: str
    weight_warning: str
    seed: int
    epochs: int
    steps: int
    step_images: int
    wall_s: float
    resumed: list[int]
    skipped: int
    restored: int
    parameters: int
    parameters_of: dict[str, int]
    encoder_outputs: int
    decoder_outputs: list[int]


class EvaluationNumbers(LikelihoodNumbers, total=False):
    """The numbers of numbers.json, which an evaluation writes.

    Keys that end in _se are standard errors over images.

    Attributes:
        asked: The settings of the evaluation.
        parts: The seconds that each finished part took.
        absent: Why parts do not apply to the run.
        checkpoint: best or last.
        collapse: A sentence about posterior collapse.
        kl_check, kl_check_se: mutual_information + aggregate_kl - kl, and its standard error.
        kl_warning: A sentence about a kl_check that is too large.
        features: The name of the feature network of the part `samples`.
        factor_images: What the metrics of disentanglement were computed on: all combinations of
            the factors, or a sample of them.
        compared, nearest_compared: Whether new images are "draws" (samples) or "means" of p(x|z).
    """

    asked: dict[str, Any]
    parts: dict[str, float]
    absent: dict[str, str]
    checkpoint: str
    # generalisation
    generalisation_images: int
    generalisation_samples: int
    elbo_train: float | None
    elbo_gap: float | None
    elbo_gap_se: float | None
    nll_train: float | None
    nll_gap: float | None
    nll_gap_se: float | None
    # latents
    latent_images: int
    mutual_information: float | None
    mutual_information_limit: float | None
    aggregate_kl: float | None
    total_correlation: float | None
    dimension_kl: float | None
    kl_check: float | None
    kl_check_se: float | None
    kl_warning: str
    collapse: str
    # reconstructions
    psnr: float | None
    ssim: float | None
    ssim_window: str
    # samples
    features: str
    sampler: str
    temperature: float | list[float]
    compared: str
    fid_images: int
    fid: float | None
    fid_reconstructions: float | None
    fid_floor: float | None
    kid: float | None
    kid_se: float | None
    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None
    # neighbours
    nearest_compared: str
    nearest_train: float | None
    nearest_train_of_test: float | None
    # codes
    linear_probe: float | None
    knn: float | None
    clustering: float | None
    majority: float | None
    probe_images: int
    # disentanglement
    mig: float | None
    sap: float | None
    dci_disentanglement: float | None
    dci_completeness: float | None
    dci_informativeness: float | None
    factor_vae: float | None
    factor_images: str
    # gaps
    gap_images: int
    iw_bound: float | None
    ais: float | None
    ais_se: float | None
    ais_chains: int
    ais_temperatures: int
    amortisation_gap: float | None
    amortisation_gap_se: float | None
    approximation_gap: float | None
    approximation_gap_se: float | None


def read_run_metrics(path: Path) -> RunMetrics:
    """Read a metrics.json, which may be untrusted; empty if there is none.

    Raises:
        UserError: If the file is damaged.
    """
    return cast(RunMetrics, read_numbers(path))


def read_evaluation_numbers(path: Path) -> EvaluationNumbers:
    """Read a numbers.json, which may be untrusted; empty if there is none.

    Raises:
        UserError: If the file is damaged.
    """
    return cast(EvaluationNumbers, read_numbers(path))


def write_numbers(numbers: Mapping[str, Any], path: Path) -> None:
    """Write numbers as JSON; NaN and infinity, and lists that contain them, become null."""
    finite = {name: value if all_finite(value) else None for name, value in numbers.items()}
    with atomic_write(path) as part:
        part.write_text(json.dumps(finite, indent=2) + "\n", encoding="utf-8")


def all_finite(value: Any) -> bool:
    """True unless a value is NaN or infinity, or a list that contains them."""
    if isinstance(value, list):
        return all(map(all_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


class FormattedMetric(NamedTuple):
    """A metric in a table.

    Attributes:
        name: The name, without the unit.
        value: The value, in as many decimals as its standard error is known to.
        error: The standard error over images with two significant digits, or an empty text.
        unit: The unit, or an empty text.
    """

    name: str
    value: str
    error: str
    unit: str


def format_numbers(numbers: Mapping[str, Any]) -> list[FormattedMetric]:
    """Return the metrics among the numbers of a run or an evaluation, in the order of METRICS."""
    rows = []
    for key in METRICS:
        if (value := numbers.get(key)) is None:
            continue
        metric = get_metric(key, shape=numbers.get("shape"))
        error = numbers.get(f"{key}_se")
        decimals = None
        if error is not None and math.isfinite(error) and error > 0:
            decimals = max(0, 1 - math.floor(math.log10(error)))
        name = metric.name
        if key == "nll":
            name += f" ({numbers['samples']} samples)"
        elif key in DISENTANGLEMENT and "factor_images" in numbers:
            name += f" ({name_data(numbers['factor_images'], numbers.get('shape'))})"
        rows.append(
            FormattedMetric(
                name,
                f"{value:.{decimals}f}" if decimals is not None else _format_value(value),
                "" if error is None else f"{error:.{decimals or 0}f}",
                metric.unit,
            )
        )
    return rows


def _format_value(value: float) -> str:
    """Return a number with five significant digits, without an exponent unless it is tiny."""
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:.0f}"
    return f"{value:.5g}"


def table_heading(numbers: Mapping[str, Any]) -> tuple[str, str]:
    """Return the evaluated images, and the likelihood with its kind of pixels."""
    images = f"{numbers['choices']['data']}, {describe_images(numbers)}"
    measure = f"{numbers['choices']['loss']} on {numbers['pixels']} pixels: {numbers['measure']}"
    return name_data(images, numbers["shape"]), name_data(measure, numbers["shape"])


def describe_images(numbers: Mapping[str, Any], translate: Translate = TO_ENGLISH) -> str:
    """Return the number of evaluated images, as in `500 random images of 10,000 test images`."""
    images, every = numbers["images"], numbers.get("all_images")
    if every is None or images == every:
        text = "{images:,} {split} images"
    else:
        text = "{images:,} random images of {every:,} {split} images"
    split = translate(str(numbers["split"]))
    return translate(text, images=images, every=every, split=split)


def list_remarks(numbers: Mapping[str, Any]) -> list[str]:
    """Return warnings about the model, and why parts of an evaluation do not apply."""
    warnings = find_verdicts(numbers)
    absent = numbers.get("absent", {}).items()
    remarks = [*warnings, *(f"no {part}: {reason}" for part, reason in absent)]
    return [name_data(remark, numbers.get("shape")) for remark in remarks]


def print_numbers(numbers: Mapping[str, Any]) -> None:
    """Print the table and the remarks at the end of a run or an evaluation."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    console.print("", *table_heading(numbers), sep="\n")
    rows = format_numbers(numbers)
    table = Table(box=None, show_header=False, pad_edge=False)
    for row, value in zip(rows, _align_points([row.value for row in rows]), strict=True):
        table.add_row(row.name, value, f"± {row.error}" if row.error else "", row.unit)
    console.print(table)
    if "elbo" in numbers and "nll" in numbers:
        console.print(EXPLANATION)
    for remark in list_remarks(numbers):
        console.print(remark)


def _align_points(values: Sequence[str]) -> list[str]:
    """Pad numbers with blanks so that their decimal points are below each other."""
    parts = [value.partition(".") for value in values]
    left = max((len(whole) for whole, _, _ in parts), default=0)
    right = max((len(point + fraction) for _, point, fraction in parts), default=0)
    return [f"{whole:>{left}}{point + fraction:<{right}}" for whole, point, fraction in parts]


def markdown_table(numbers: Mapping[str, Any]) -> list[str]:
    """Return the table as lines of markdown."""
    _, measure = table_heading(numbers)
    rows = [
        f"| {row.name}{f' ({row.unit})' if row.unit else ''} "
        f"| {row.value}{f' ± {row.error}' if row.error else ''} |"
        for row in format_numbers(numbers)
    ]
    return [f"| | {measure} |", "|---|---|", *rows]


def markdown_page(numbers: Mapping[str, Any]) -> str:
    """Return a page with the table, the remarks and the command."""
    title, _ = table_heading(numbers)
    remarks = [f"- {remark}" for remark in list_remarks(numbers)]
    lines = [f"# {title}", "", *markdown_table(numbers), "", *remarks]
    return "\n".join([*lines, "", f"`{numbers['command']}`", ""])
