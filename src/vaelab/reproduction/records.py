"""Records of evaluated runs, results/*.json, and the table of these records.

A row of the table is a bound on all test images with enough importance samples. Records with fewer
images or samples are kept, but left out of the table. Values of different data, pixels or
likelihoods are in separate tables.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from omegaconf import OmegaConf

from vaelab.runs import metrics_file, provenance, untrusted
from vaelab.runs.config_check import is_published_value
from vaelab.runs.run import RunParts
from vaelab.runtime.errors import UserError
from vaelab.runtime.metric_names import METRICS

RECORD_SAMPLES = 5000  # importance samples of a complete record
REQUIRED_KEYS = (  # of every record
    *("split", "images", "all_images", "samples", "data", "pixels", "binarize", "loss", "measure"),
    *("bits_sha256", "seed", "epochs", "wall_s", "train_images", "experiment", "published"),
    "command",
)
NUMBER_KEYS = ("nll", "nll_se", "elbo", "kl", "active_units", "bits_per_dim", "fid", "fid_floor")


class Record(TypedDict):
    """A record of an evaluated run, as in results/<name>.json. Numbers are in nats per image.

    Attributes:
        name: The name of the file, without .json.
        data, loss, experiment: The chosen options of these config groups.
        measure: What log p(x) is, see `vaelab.evaluation.likelihood.describe_measure`.
        images, all_images: The number of evaluated images, and of all images of the split.
        samples: The number of importance samples of the NLL.
        arithmetic: The precision of the evaluation: 32-true or bf16-mixed.
        bits_sha256: The SHA-256 of the binarized pixels of the split.
        wall_s, evaluation_s: The duration of training and evaluation in seconds.
        published: The published value of the same choices, with value and source.
    """

    name: str
    experiment: str | None
    data: str
    loss: str
    binarize: str
    pixels: str
    measure: str
    split: str
    images: int
    all_images: int
    train_images: int
    samples: int
    arithmetic: NotRequired[str]
    bits_sha256: str | None
    nll: float | None
    nll_se: float | None
    elbo: float
    kl: NotRequired[float]
    active_units: NotRequired[int]
    bits_per_dim: NotRequired[float]
    fid: NotRequired[float]
    fid_floor: NotRequired[float]
    seed: int
    epochs: int | None
    steps: NotRequired[int | None]
    wall_s: float | None
    parameters: NotRequired[int | None]
    threads: NotRequired[int | None]
    machine: NotRequired[dict[str, Any] | None]
    evaluation_s: NotRequired[float]
    command: str | None
    evaluation_command: NotRequired[str]
    weights_sha256: str
    config: NotRequired[dict[str, Any]]
    versions: NotRequired[dict[str, str]]
    git: NotRequired[dict[str, Any] | None]
    published: dict[str, Any] | None


def make_record(run: RunParts, folder: Path, numbers: Mapping[str, Any]) -> Record:
    """Make the record of a run.

    Arguments:
        folder: The run folder.
        numbers: The numbers of its evaluation, as in numbers.json.
    """
    training = untrusted.read_numbers(folder / "metrics.json")
    start = untrusted.read_numbers(folder / provenance.PROVENANCE)
    choices, asked = numbers["choices"], numbers["asked"]
    config: Any = OmegaConf.to_container(run.cfg, resolve=False)
    multirun = folder.resolve().parent
    is_job = (multirun / "multirun.yaml").is_file()
    name = f"{multirun.name}-{folder.name}" if is_job else folder.resolve().name
    suffix = "-last" if numbers["checkpoint"] == "last" else ""  # of checkpoints/last.ckpt
    record: Any = {
        "name": name + suffix,
        "experiment": choices.get("experiment"),
        "data": choices["data"],
        "loss": choices["loss"],
        "binarize": run.data.binarize,
        "pixels": numbers["pixels"],
        "measure": numbers["measure"],
        "split": numbers["split"],
        "images": numbers["images"],
        "all_images": numbers["all_images"],
        "train_images": len(run.data.splits["train"].images),
        "samples": asked["samples"],
        "arithmetic": asked["precision"],
        "bits_sha256": run.data.bits_sha256.get(numbers["split"]),
        **{name: numbers[name] for name in NUMBER_KEYS if name in numbers},
        "seed": run.cfg.seed,
        **{name: training.get(name) for name in ("epochs", "steps", "wall_s", "parameters")},
        "threads": untrusted.get_table(start, "threads").get("torch"),
        "machine": start.get("machine"),
        "evaluation_s": sum(numbers["parts"].values()),
        "command": training.get("command"),
        "evaluation_command": numbers["command"],
        "weights_sha256": asked["weights_sha256"],
        "config": config,
        "versions": numbers["versions"],
        "git": numbers["git"],
        "published": config.get("published"),
    }
    return record


def save_record(record: Record, folder: Path) -> None:
    """Write a record to `folder`; an incomplete record never replaces a complete one."""
    path = folder / f"{record['name']}.json"
    known = read_record(path) if path.is_file() else record
    if is_complete(known) and not is_complete(record):
        return
    if known.get("weights_sha256") != record["weights_sha256"]:
        print(f"{path}: replaced a record of other weights; rename the run folder to keep both")
    folder.mkdir(parents=True, exist_ok=True)
    metrics_file.write_numbers(dict(record), path)


def is_complete(record: Record) -> bool:
    """True if a record has an NLL of all test images with enough importance samples."""
    return has_at_least(record, RECORD_SAMPLES) and record.get("nll") is not None


def has_at_least(record: Record, samples: int, images: int | None = None) -> bool:
    """True if a record has at least so many importance samples and test images.

    Arguments:
        images: The number of images; None means all test images.
    """
    wanted = record["all_images"] if images is None else min(images, record["all_images"])
    return record["split"] == "test" and record["images"] >= wanted and record["samples"] >= samples


def write_record_table(folder: Path) -> None:
    """Write the table of all records in a folder to its table.md.

    Prints which records the table leaves out, and the path of the table.
    """
    if folder.is_dir():
        path, text = folder / "table.md", render_record_table(folder)
        path.write_text(text, encoding="utf-8")
        remarks = [line for line in text.splitlines() if line and line[0] not in "#|"]
        print(*remarks, path, sep="\n")


def render_record_table(folder: Path) -> str:
    """Render the complete records of a folder as markdown tables, the lowest NLL first.

    Damaged records, and the number of incomplete records, are listed below the tables.
    """
    records, errors = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(read_record(path))
        except ValueError as error:
            errors.append(f"Left out: {error}")
    complete = sorted(filter(is_complete, records), key=lambda record: record["nll"] or 0.0)
    nll, elbo = METRICS["nll"], METRICS["elbo"]
    titles = ("experiment", "published", nll.name, elbo.name)
    titles = (*titles, "seed", "epochs", "training", "command")
    lines = [f"# {nll.name} in {nll.unit}", ""]
    for group in dict.fromkeys(map(describe_comparison_group, complete)):
        lines += [f"## {group}", "", f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
        rows = [record for record in complete if describe_comparison_group(record) == group]
        lines += [*map(_render_row, rows), ""]
    incomplete = len(records) - len(complete)
    if incomplete:
        lines += [
            f"Not shown: {incomplete} with fewer images or fewer than {RECORD_SAMPLES} samples."
        ]
        lines.append("")
    lines += [line for error in errors for line in (error, "")]
    return "\n".join(lines)


def read_record(path: Path) -> Record:
    """Read a record, which may be untrusted.

    Raises:
        UserError: If the file is damaged or no record.
    """
    record: Any = untrusted.read_numbers(path)
    if missing := [name for name in REQUIRED_KEYS if name not in record]:
        raise UserError(f"{path} is not a record of an evaluation: {missing[0]} is missing")
    if record["published"] is not None and not is_published_value(record["published"]):
        raise UserError(f"{path} is damaged: published is not a value with its source")
    return record


def describe_comparison_group(record: Record) -> str:
    """Describe the data, pixels and likelihood that records must share to be compared."""
    bits = record["bits_sha256"]
    pixels = f"{record['data']}, {record['pixels']} pixels ({record['binarize']}), {record['loss']}"
    return f"{pixels} ({record['measure']})" + (f", bits {bits[:8]}" if bits else "")


def format_published(published: Mapping[str, Any] | None) -> str:
    """Format a published value with its source; empty if there is none."""
    return f"{published['value']} ({published['source']})" if published else ""


def _render_row(record: Record) -> str:
    wall, epochs = record["wall_s"], record["epochs"]
    cells = [
        record["experiment"] or "",
        format_published(record["published"]),
        f"{record['nll']:.2f} +- {record['nll_se']:.2f}",
        f"{record['elbo']:.2f}",
        str(record["seed"]),
        f"{epochs} of {record['train_images']} images" if epochs else "",
        f"{wall / 60:.1f} min" if wall else "",
        f"`{record['command']}`" if record["command"] else "",
    ]
    return f"| {' | '.join(cells)} |"
