"""Reproduce the records of a list: train and evaluate its experiments one after the other.

Every step is a command that is printed and that a user could type. Interrupted trainings and
evaluations resume bit for bit. Steps whose results exist are skipped.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vaelab.reproduction import records
from vaelab.runs import metrics_file, provenance, untrusted, weights
from vaelab.runs.compose import compose_config
from vaelab.runs.old_names import NEW_KEYS, current_names
from vaelab.runs.recorded import read_recorded_run
from vaelab.runs.weights import hash_weights
from vaelab.runtime.errors import UserError, subprocess_environment
from vaelab.runtime.overrides import quote_override

ENTRY_EXAMPLE = "{seeds: [0, 1], weights: true}"
DEFAULT_SAMPLES = records.RECORD_SAMPLES
HYDRA_FILES = ("config", "hydra")  # without which a run cannot resume
IGNORED_KEYS = (
    *("published.", "logger.", "callbacks.progress.", "callbacks.pictures."),
    *("samples", "evaluate."),
)
SMOKE_OVERRIDES = (
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=2"),
    *("samples=2", "logger=csv", "callbacks.pictures.only=[]"),
)


@dataclass(frozen=True)
class RecordEntry:
    """A run of the list.

    Attributes:
        experiment: The option of the config group `experiment`.
        seed: The seed of the run.
        weights: True to keep the weights of the run with its record.
    """

    experiment: str
    seed: int
    weights: bool = False

    @property
    def name(self) -> str:
        return f"{self.experiment}-{self.seed}"


@dataclass(frozen=True)
class RecordFolders:
    """The folders and settings of the records.

    Attributes:
        project: The folder of train.py.
        runs: The folder of the run folders.
        results: The folder of the records and the weights.
        samples: The number of importance samples.
        images: Only the first `images` of the test split; None means all.
        overrides: Overrides of every training, in addition to the experiment and the seed.
    """

    project: Path
    runs: Path
    results: Path
    samples: int = DEFAULT_SAMPLES
    images: int | None = None
    overrides: tuple[str, ...] = ()

    def run_folder(self, entry: RecordEntry) -> Path:
        return self.runs / entry.name

    def record_path(self, entry: RecordEntry) -> Path:
        return self.results / f"{entry.name}.json"

    def weights_path(self, entry: RecordEntry) -> Path:
        return self.results / entry.experiment / weights.FILE_NAME

    def training_overrides(self, entry: RecordEntry) -> list[str]:
        """Return the overrides of a training, without its folder."""
        return [f"experiment={entry.experiment}", f"seed={entry.seed}", *self.overrides]


def make_smoke_folders(project: Path, runs: Path) -> RecordFolders:
    """Return the settings of a smoke test, which writes only to the folder `runs`."""
    return RecordFolders(
        project, runs, runs / "results", samples=2, images=100, overrides=SMOKE_OVERRIDES
    )


def read_entries(path: Path, conf: Path) -> list[RecordEntry]:
    """Read the runs of a list, a yaml file with a line such as ENTRY_EXAMPLE per experiment.

    Weights are kept for the first seed only.

    Arguments:
        path: The list.
        conf: The folder of the config.

    Raises:
        UserError: If the list names an unknown experiment or has another form.
    """
    settings: Any = OmegaConf.to_container(untrusted.read_config(path), resolve=False)
    experiments = sorted(file.stem for file in (conf / "experiment").glob("*.yaml"))
    for name, value in settings.items():
        if name not in experiments:
            raise UserError(
                f"{path}: there is no experiment {name}; choose from {', '.join(experiments)}"
            )
        if not _is_valid_entry(value):
            raise UserError(f"{path}: {name} is {value}, but must look like {ENTRY_EXAMPLE}")
    return [
        RecordEntry(name, seed, number == 0 and value.get("weights", False))
        for name, value in settings.items()
        for number, seed in enumerate(value["seeds"])
    ]


def _is_valid_entry(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {"seeds", "weights"}:
        return False
    seeds = value.get("seeds")
    return (
        isinstance(seeds, list)
        and all(type(seed) is int and seed >= 0 for seed in seeds)
        and 0 < len(seeds) == len(set(seeds))
        and isinstance(value.get("weights", False), bool)
    )


def select_entries(entries: Sequence[RecordEntry], names: Sequence[str]) -> list[RecordEntry]:
    """Select the entries of some experiments, or all if no experiment is named.

    Raises:
        UserError: If an experiment is not in the list.
    """
    experiments = dict.fromkeys(entry.experiment for entry in entries)
    if unknown := [name for name in names if name not in experiments]:
        raise UserError(f"{unknown[0]} is not in the list; choose from {', '.join(experiments)}")
    return [entry for entry in entries if not names or entry.experiment in names]


def check_entry(entry: RecordEntry, folders: RecordFolders) -> None:
    """Check that existing results of an entry belong to the experiment as its file is now.

    Raises:
        UserError: If the experiment has changed since.
    """
    now = _compose_config(entry, folders)
    changes = {
        path: change
        for path, config in _iterate_existing_configs(entry, folders)
        if (change := _find_changed_key(config, now))
    }
    if changes:
        path, change = next(iter(changes.items()))
        raise UserError(
            f"experiment={entry.experiment} has changed since {path} was written ({change}): "
            f"remove {' and '.join(changes)} to start anew"
        )


def _compose_config(entry: RecordEntry, folders: RecordFolders) -> dict[str, Any]:
    """Compose the config that a training would have now."""
    overrides = folders.training_overrides(entry)
    cfg: Any = OmegaConf.to_container(compose_config("train", overrides), resolve=False)
    return cfg


def _iterate_existing_configs(
    entry: RecordEntry, folders: RecordFolders
) -> Iterator[tuple[str, Any]]:
    """Iterate over the run folder and the record, as far as they exist, with their configs."""
    run, record = folders.run_folder(entry), folders.record_path(entry)
    if (run / ".hydra" / "config.yaml").is_file():
        yield str(run), OmegaConf.to_container(read_recorded_run(run).cfg, resolve=False)
    if record.is_file():
        yield str(record), untrusted.get_table(records.read_record(record), "config")


def _find_changed_key(then: Any, now: Any) -> str | None:
    """Describe the first key in which two configs differ; a missing key equals null.

    Keys that do not affect the training are ignored. Classes that were renamed since are equal, and
    a key that was added since equals the value that reproduces the behaviour before it.
    """
    old, new = provenance.flatten(current_names(then)), provenance.flatten(now)
    old = {key: value for key, value in NEW_KEYS.items() if key in new} | old
    for key in {**old, **new}:
        if new.get(key) != old.get(key) and not key.startswith(IGNORED_KEYS):
            return f"{key} was {old.get(key)}, is {new.get(key)}"
    return None


def reproduce_entry(entry: RecordEntry, folders: RecordFolders, only: str | None = None) -> None:
    """Train and evaluate one run, as far as this is not done yet.

    Arguments:
        only: train or evaluate; None means both.

    Raises:
        UserError: If a command fails.
    """
    trained = (folders.run_folder(entry) / "metrics.json").is_file()
    if is_recorded(entry, folders) and _has_weights(entry, folders):
        print(f"{entry.name} is done")
    elif not trained and only == "evaluate":
        print(f"{entry.name} is not trained yet")
    elif trained and only == "train":
        print(f"{entry.name} is trained")
    else:
        if not trained:
            _run_command(build_train_or_resume_command(entry, folders), folders)
        if only != "train":
            _evaluate_and_keep_weights(entry, folders)
    if folders.record_path(entry).is_file():
        _update_published_value(entry, folders)


def _evaluate_and_keep_weights(entry: RecordEntry, folders: RecordFolders) -> None:
    if not is_recorded(entry, folders):
        _run_command(build_evaluate_command(entry, folders), folders)
    if not _has_weights(entry, folders):
        _run_command(build_weights_command(entry, folders), folders)


def _update_published_value(entry: RecordEntry, folders: RecordFolders) -> None:
    """Update the published value in a record, in case it was corrected after the training."""
    path, published = folders.record_path(entry), _compose_config(entry, folders)["published"]
    record = records.read_record(path)
    if record["published"] != published:
        metrics_file.write_numbers({**record, "published": published}, path)


def is_recorded(entry: RecordEntry, folders: RecordFolders) -> bool:
    """True if there is a record with the required number of samples and images."""
    path = folders.record_path(entry)
    return path.is_file() and records.has_at_least(
        records.read_record(path), folders.samples, folders.images
    )


def _has_weights(entry: RecordEntry, folders: RecordFolders) -> bool:
    """True if the weights of the record are kept, or need not be kept."""
    if not entry.weights:
        return True
    path = folders.weights_path(entry)
    expected = records.read_record(folders.record_path(entry)).get("weights_sha256")
    try:
        return path.is_file() and hash_weights(weights.load_weights(path)) == expected
    except ValueError:  # the file is damaged
        return False


def build_train_or_resume_command(entry: RecordEntry, folders: RecordFolders) -> list[str]:
    """Build the command that starts a training, or resumes it if it was interrupted."""
    run = folders.run_folder(entry)
    started = all((run / ".hydra" / f"{name}.yaml").is_file() for name in HYDRA_FILES)
    return ["train.py", f"resume={run}"] if started else build_train_command(entry, folders)


def build_train_command(entry: RecordEntry, folders: RecordFolders) -> list[str]:
    """Build the command that starts a training."""
    run = str(folders.run_folder(entry))
    is_plain = re.fullmatch(r"[\w./-]+", run)
    run_dir = f"hydra.run.dir={run if is_plain else quote_override(run)}"
    return ["train.py", *folders.training_overrides(entry), run_dir]


def build_evaluate_command(entry: RecordEntry, folders: RecordFolders) -> list[str]:
    """Build the command that evaluates a run and writes its record."""
    words = ["--parts", "likelihood", "--samples", str(folders.samples)]
    words += [] if folders.images is None else ["--images", str(folders.images)]
    words += ["--results", str(folders.results), "--precision", "auto", "--compile"]
    return ["scripts/evaluate.py", str(folders.run_folder(entry)), *words]


def build_weights_command(entry: RecordEntry, folders: RecordFolders) -> list[str]:
    """Build the command that exports the weights of a run."""
    out = folders.weights_path(entry).parent
    return ["scripts/export.py", str(folders.run_folder(entry)), "--weights", "--out", str(out)]


def _run_command(line: Sequence[str], folders: RecordFolders) -> None:
    """Run a command of this project. A signal that stops this process stops the command first.

    Raises:
        UserError: If the command fails.
    """
    script, *words = line
    words = [os.path.relpath(folders.project / script), *words]
    print("python", shlex.join(words), flush=True)
    with subprocess.Popen([sys.executable, *words], env=subprocess_environment()) as process:
        try:
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if status:
        raise UserError(f"python {shlex.join(words)} ended with status {status}, see above")
