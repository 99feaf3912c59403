"""The record: experiments trained and evaluated, one after the other: `scripts/reproduce.py`.

Every step is a command that anybody could type. A training that was stopped goes on to the same
bits, an evaluation at the batch where it was, and what is in results/ already is not done again.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vaelab.reproduction import records
from vaelab.runs import metrics_file, provenance, untrusted, weights
from vaelab.runs.recorded import read_recorded_run
from vaelab.runs.weights import hash_weights
from vaelab.runtime.errors import subprocess_environment
from vaelab.runtime.overrides import quote_override

FORM = "{seeds: [0, 1], weights: true}"
SAMPLES = records.ENOUGH
HYDRAS = ("config", "hydra")  # files without which a run cannot go on
APART = ("published.", "logger.", "callbacks.progress.", "callbacks.pictures.")  # train nothing
SMOKE = (
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=2"),
    *("samples=2", "logger=csv", "callbacks.pictures.only=[]"),
)


@dataclass(frozen=True)
class RecordEntry:
    """One run of the record.

    Attributes:
        weights: Whether its weights are kept with the results.
    """

    experiment: str
    seed: int
    weights: bool = False

    @property
    def name(self) -> str:
        return f"{self.experiment}-{self.seed}"


@dataclass(frozen=True)
class RecordFolders:
    """Where a record is made, and how much of it.

    Attributes:
        project: The folder of train.py.
        runs: That of the run folders.
        results: That of the numbers and the weights.
        samples: Of the importance-weighted bound.
        images: The first so many of the test split; None is all.
        words: Of every training, beside the experiment and its seed.
    """

    project: Path
    runs: Path
    results: Path
    samples: int = SAMPLES
    images: int | None = None
    words: tuple[str, ...] = ()

    def run(self, entry: RecordEntry) -> Path:
        return self.runs / entry.name

    def record(self, entry: RecordEntry) -> Path:
        return self.results / f"{entry.name}.json"

    def weights(self, entry: RecordEntry) -> Path:
        return self.results / entry.experiment / weights.FILE_NAME

    def chosen(self, entry: RecordEntry) -> list[str]:
        """The words of a training, without its folder."""
        return [f"experiment={entry.experiment}", f"seed={entry.seed}", *self.words]


def smoke_folders(project: Path, runs: Path) -> RecordFolders:
    """A record of next to nothing, all of it in the folder of its runs."""
    return RecordFolders(project, runs, runs / "results", samples=2, images=100, words=SMOKE)


def read_entries(path: Path, conf: Path) -> list[RecordEntry]:
    """The runs of a list, a yaml file that says of each experiment what FORM says.

    The weights that are kept are those of the first seed.
    """
    asked: Any = OmegaConf.to_container(untrusted.read_config(path), resolve=False)
    there = sorted(file.stem for file in (conf / "experiment").glob("*.yaml"))
    for name, said in asked.items():
        if name not in there:
            raise ValueError(f"{path}: {name} is no experiment; choose from {', '.join(there)}")
        if not _is_of_form(said):
            raise ValueError(f"{path}: {name} is {said}, but must be like {FORM}")
    return [
        RecordEntry(name, seed, number == 0 and said.get("weights", False))
        for name, said in asked.items()
        for number, seed in enumerate(said["seeds"])
    ]


def _is_of_form(said: Any) -> bool:
    if not isinstance(said, dict) or not said.keys() <= {"seeds", "weights"}:
        return False
    seeds = said.get("seeds")
    return (
        isinstance(seeds, list)
        and all(type(seed) is int and seed >= 0 for seed in seeds)
        and 0 < len(seeds) == len(set(seeds))
        and isinstance(said.get("weights", False), bool)
    )


def select_entries(listed: Sequence[RecordEntry], names: Sequence[str]) -> list[RecordEntry]:
    """Those of some experiments; of all, if none is named."""
    there = dict.fromkeys(entry.experiment for entry in listed)
    if unknown := [name for name in names if name not in there]:
        raise ValueError(f"{unknown[0]} is not in the list; choose from {', '.join(there)}")
    return [entry for entry in listed if not names or entry.experiment in names]


def check_entry(entry: RecordEntry, place: RecordFolders) -> None:
    """Refuse what there is of an experiment whose file has been changed since."""
    now = _composed(entry, place)
    unlike = {path: found for path, cfg in _begun(entry, place) if (found := _unlike(cfg, now))}
    if unlike:
        raise ValueError(
            f"experiment={entry.experiment} has changed since {next(iter(unlike))} was begun "
            f"({next(iter(unlike.values()))}): remove {' and '.join(unlike)} to do it anew"
        )


def _composed(entry: RecordEntry, place: RecordFolders) -> dict[str, Any]:
    """The config that a training would have now."""
    with initialize_config_dir(str((place.project / "conf").resolve()), version_base="1.3"):
        cfg: Any = OmegaConf.to_container(compose("train", place.chosen(entry)), resolve=False)
    return cfg


def _begun(entry: RecordEntry, place: RecordFolders) -> Iterable[tuple[str, Any]]:
    """Where there is something of a run, with its config."""
    if (place.run(entry) / ".hydra" / "config.yaml").is_file():
        cfg = read_recorded_run(place.run(entry)).cfg
        yield str(place.run(entry)), OmegaConf.to_container(cfg, resolve=False)
    if place.record(entry).is_file():
        yield (
            str(place.record(entry)),
            untrusted.get_table(records.read_record(place.record(entry)), "config"),
        )


def _unlike(then: Any, now: Any) -> str | None:
    """The first key in which two configs differ; one that is null is as good as none."""
    ours, theirs = provenance.flatten(now), provenance.flatten(then)
    for key in {**theirs, **ours}:
        if ours.get(key) != theirs.get(key) and not key.startswith(APART):
            return f"{key} was {theirs.get(key)}, is {ours.get(key)}"
    return None


def reproduce_entry(entry: RecordEntry, place: RecordFolders, only: str | None = None) -> None:
    """Train and evaluate one run, as far as that is not done yet.

    Arguments:
        only: train or evaluate; None is both.
    """
    trained = (place.run(entry) / "metrics.json").is_file()
    if is_recorded(entry, place) and _is_kept(entry, place):
        print(f"{entry.name} is done")
    elif not trained and only == "evaluate":
        print(f"{entry.name} is not trained yet")
    elif trained and only == "train":
        print(f"{entry.name} is trained")
    else:
        if not trained:
            _call(train_command(entry, place), place)
        if only != "train":
            _evaluate(entry, place)
    if place.record(entry).is_file():
        _take_figure(entry, place)


def _evaluate(entry: RecordEntry, place: RecordFolders) -> None:
    if not is_recorded(entry, place):
        _call(evaluate_command(entry, place), place)
    if not _is_kept(entry, place):
        _call(weights_command(entry, place), place)


def _take_figure(entry: RecordEntry, place: RecordFolders) -> None:
    """Put a paper's figure into the record, which may have been corrected since the training."""
    path, published = place.record(entry), _composed(entry, place)["published"]
    found = records.read_record(path)
    if found["published"] != published:
        metrics_file.write_numbers(found | {"published": published}, path)


def is_recorded(entry: RecordEntry, place: RecordFolders) -> bool:
    """Whether there is a record of as many samples and images as are wanted."""
    path = place.record(entry)
    return path.is_file() and records.covers(records.read_record(path), place.samples, place.images)


def _is_kept(entry: RecordEntry, place: RecordFolders) -> bool:
    """Whether the weights beside the record are those that it is of."""
    path = place.weights(entry)
    if not entry.weights:
        return True
    known = records.read_record(place.record(entry)).get("weights_sha256")
    try:
        return path.is_file() and hash_weights(weights.load_weights(path)) == known
    except ValueError:  # torn
        return False


def train_command(entry: RecordEntry, place: RecordFolders) -> list[str]:
    """Begins a training, or goes on with it."""
    begun = all((place.run(entry) / ".hydra" / f"{name}.yaml").is_file() for name in HYDRAS)
    return ["train.py", f"resume={place.run(entry)}"] if begun else fresh_command(entry, place)


def fresh_command(entry: RecordEntry, place: RecordFolders) -> list[str]:
    folder = str(place.run(entry))
    plain = re.fullmatch(r"[\w./-]+", folder)
    return [
        "train.py",
        *place.chosen(entry),
        f"hydra.run.dir={folder if plain else quote_override(folder)}",
    ]


def evaluate_command(entry: RecordEntry, place: RecordFolders) -> list[str]:
    words = ["--parts", "likelihood", "--samples", str(place.samples)]
    words += [] if place.images is None else ["--images", str(place.images)]
    words += ["--results", str(place.results), "--precision", "auto", "--compile"]
    return ["scripts/evaluate.py", str(place.run(entry)), *words]


def weights_command(entry: RecordEntry, place: RecordFolders) -> list[str]:
    out = place.weights(entry).parent
    return ["scripts/export.py", str(place.run(entry)), "--weights", "--out", str(out)]


def _call(line: Sequence[str], place: RecordFolders) -> None:
    """Run a command of this project; a signal that stops this one stops that one first."""
    script, *words = line
    words = [os.path.relpath(place.project / script), *words]
    print("python", shlex.join(words), flush=True)
    with subprocess.Popen([sys.executable, *words], env=subprocess_environment()) as process:
        try:
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if status:
        raise ValueError(f"python {shlex.join(words)} ended with status {status}, see above")
