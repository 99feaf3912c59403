"""The record of evaluated runs, results/*.json, and the table that is made of it.

A row of the table is a bound on all images of the test split with enough samples; a record of less
says so and stays out. Values of different data, pixels or likelihoods stand in different tables.
"""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vaelab.runs import metrics_file, provenance, untrusted
from vaelab.runs.run import Run

ENOUGH = 5000  # samples of the importance-weighted bound
SAID = (  # by every record
    *("split", "images", "all_images", "samples", "data", "pixels", "binarize", "loss", "measure"),
    *("bits_sha256", "seed", "epochs", "wall_s", "train_images", "experiment", "published"),
    "command",
)
BOUNDS = ("nll", "nll_se", "elbo", "kl", "active_units", "bits_per_dim", "fid", "fid_floor")


def make_record(run: Run, folder: Path, numbers: dict[str, Any]) -> dict[str, Any]:
    """The record of a run in `folder` whose evaluation gave these numbers."""
    training = untrusted.read_numbers(folder / "metrics.json")
    begun = untrusted.read_numbers(folder / provenance.PROVENANCE)
    choices, asked = numbers["choices"], numbers["asked"]
    config: Any = OmegaConf.to_container(run.cfg, resolve=False)
    sweep = folder.resolve().parent
    of_sweep = (sweep / "multirun.yaml").is_file()
    last = "-last" if numbers["checkpoint"] == "last" else ""  # beside the record of the best
    return {
        "name": (f"{sweep.name}-{folder.name}" if of_sweep else folder.resolve().name) + last,
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
        **{name: numbers[name] for name in BOUNDS if name in numbers},
        "seed": run.cfg.seed,
        **{name: training.get(name) for name in ("epochs", "steps", "wall_s", "parameters")},
        "threads": untrusted.get_table(begun, "threads").get("torch"),
        "machine": begun.get("machine"),
        "evaluation_s": sum(numbers["parts"].values()),
        "command": training.get("command"),
        "evaluation_command": numbers["command"],
        "weights_sha256": asked["weights_sha256"],
        "config": config,
        "versions": numbers["versions"],
        "git": numbers["git"],
        "published": config.get("published"),
    }


def save_record(found: dict[str, Any], folder: Path) -> None:
    """Write a record to `folder`; one of less never takes the place of a whole one."""
    path = folder / f"{found['name']}.json"
    known = read_record(path) if path.is_file() else found
    if is_complete(known) and not is_complete(found):
        return
    if known.get("weights_sha256") != found["weights_sha256"]:
        print(f"{path} was of other weights, and is replaced: name runs apart to keep both")
    folder.mkdir(parents=True, exist_ok=True)
    metrics_file.write_numbers(found, path)


def is_complete(found: dict[str, Any]) -> bool:
    """Whether a record is one of a bound on all test images with enough samples."""
    return covers(found, ENOUGH) and found.get("nll") is not None


def covers(found: dict[str, Any], samples: int, images: int | None = None) -> bool:
    """Whether a record is of so many samples and test images, of all by default."""
    wanted = found["all_images"] if images is None else min(images, found["all_images"])
    return found["split"] == "test" and found["images"] >= wanted and found["samples"] >= samples


def write_record_table(folder: Path) -> None:
    """Write the table to table.md beside the records; print what it leaves out, and its path."""
    if folder.is_dir():
        path, text = folder / "table.md", render_record_table(folder)
        path.write_text(text)
        left_out = [line for line in text.splitlines() if line and line[0] not in "#|"]
        print(*left_out, path, sep="\n")


def render_record_table(folder: Path) -> str:
    """The whole records of a folder as markdown, the best first; what cannot be read is named."""
    records, unread = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(read_record(path))
        except ValueError as error:
            unread.append(f"Left out: {error}")
    whole = sorted(filter(is_complete, records), key=lambda found: found["nll"])
    lines = ["# NLL in nats per image", ""]
    for name in dict.fromkeys(map(record_group, whole)):
        lines += [f"## {name}", ""]
        lines += ["| experiment | published | NLL | ELBO | seed | epochs | training | command |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        lines += [_row(found) for found in whole if record_group(found) == name]
        lines.append("")
    left = len(records) - len(whole)
    if left:
        lines += [f"Not shown: {left} of fewer images or samples than all and {ENOUGH}.", ""]
    lines += [line for each in unread for line in (each, "")]
    return "\n".join(lines)


def read_record(path: Path) -> dict[str, Any]:
    """A record, which may come from anybody."""
    found = untrusted.read_numbers(path)
    if missing := [name for name in SAID if name not in found]:
        raise ValueError(f"{path} is no record of an evaluation: it does not say its {missing[0]}")
    if found["published"] is not None and not provenance.is_published_value(found["published"]):
        raise ValueError(f"{path} is damaged: published is no value with its source")
    return found


def record_group(found: dict[str, Any]) -> str:
    """What two records must have in common to be compared."""
    bits = found["bits_sha256"]
    pixels = f"{found['data']}, {found['pixels']} pixels ({found['binarize']}), {found['loss']}"
    return f"{pixels} ({found['measure']})" + (f", bits {bits[:8]}" if bits else "")


def format_published(published: dict[str, Any] | None) -> str:
    """A paper's, with its source."""
    return f"{published['value']} ({published['source']})" if published else ""


def _row(found: dict[str, Any]) -> str:
    published = found["published"]
    wall, epochs = found["wall_s"], found["epochs"]
    cells = [
        found["experiment"] or "",
        format_published(published),
        f"{found['nll']:.2f} +- {found['nll_se']:.2f}",
        f"{found['elbo']:.2f}",
        str(found["seed"]),
        f"{epochs} of {found['train_images']} images" if epochs else "",
        f"{wall / 60:.1f} min" if wall else "",
        f"`{found['command']}`" if found["command"] else "",
    ]
    return f"| {' | '.join(cells)} |"
