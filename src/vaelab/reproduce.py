"""The record: experiments trained, evaluated and told in docs/results.md, one after the other.

Every step is a command that anybody could type. A training that was stopped goes on to the same
bits, an evaluation at the batch where it was, and what is in results/ already is not done again.
"""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from omegaconf import OmegaConf

from vaelab import results

BEGIN, END = "<!-- record -->\n", "<!-- end -->\n"
COLUMNS = ("experiment", "published", "NLL", "ELBO", "active units", "seeds", "epochs", "training")


@dataclass(frozen=True)
class Entry:
    """One run of the record.

    Attributes:
        words: Beside the experiment and its seed.
    """

    experiment: str
    seed: int
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.experiment}-{self.seed}"

    @property
    def command(self) -> list[str]:
        return [f"experiment={self.experiment}", f"seed={self.seed}", *self.words]


def entries(path: Path, only: Sequence[str] = ()) -> list[Entry]:
    """Those of a yaml file, {experiment: seeds}; `only` takes some of the experiments."""
    asked: Any = OmegaConf.to_container(OmegaConf.load(path))
    if unknown := set(only) - asked.keys():
        raise ValueError(f"{', '.join(sorted(unknown))}: {path} has {', '.join(asked)}")
    return [Entry(name, seed) for name in only or asked for seed in asked[name]]


@dataclass(frozen=True)
class Place:
    """Where the record is made: the project, the folder of its runs, and that of its results."""

    project: Path
    runs: Path
    results: Path


def reproduce(entry: Entry, place: Place, samples: int, smoke: Sequence[str] = ()) -> None:
    """Train and evaluate one run, as far as that is not done yet."""
    folder = place.runs / entry.name
    if results.is_done(place.results / f"{entry.name}.json", samples):
        print(f"{entry.name} is done")
        return
    if not (folder / "metrics.json").is_file():
        begun = (folder / ".hydra" / "config.yaml").is_file()
        fresh = [*entry.command, f"hydra.run.dir={folder}", *smoke]
        _call(place.project / "train.py", [f"resume={folder}"] if begun else fresh)
    asked = [str(folder), "--parts", "likelihood", "--samples", str(samples)]
    _call(place.project / "scripts" / "evaluate.py", [*asked, "--results", str(place.results)])


def _call(script: Path, words: Iterable[str]) -> None:
    done = subprocess.run([sys.executable, str(script), *words], check=False)
    if done.returncode:
        raise ValueError(f"{script.name} {' '.join(words)} failed, see above")


def write(page: Path, folder: Path) -> None:
    """Put the table of the records of a folder between the marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}{table(folder)}{END}{after}")


def table(folder: Path) -> str:
    """A row for each experiment whose record is whole: the mean over its seeds."""
    whole = [found for found in results.records(folder) if results.is_whole(found)]
    whole.sort(key=lambda found: (found["data"], found["experiment"] or "", found["seed"]))
    rows = [_row(list(runs)) for _, runs in groupby(whole, lambda found: found["experiment"])]
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(runs: list[dict[str, Any]]) -> list[str]:
    first, published = runs[0], runs[0]["published"]
    minutes = [found["wall_s"] / 60 for found in runs if found["wall_s"]]
    return [
        f"`experiment={first['experiment']}`",
        f"{published['value']} ({published['source']})" if published else "",
        _mean(runs, "nll"),
        _mean(runs, "elbo"),
        str(first.get("active_units", "")),
        ", ".join(str(found["seed"]) for found in runs),
        f"{first['epochs']} of {first['train_images']} images",
        f"{max(minutes):.1f} min" if minutes else "",
    ]


def _mean(runs: list[dict[str, Any]], key: str) -> str:
    """Over several seeds with its standard error; of one run, that over the images."""
    values = [found[key] for found in runs]
    if len(values) > 1:
        return f"{fmean(values):.2f} +- {stdev(values) / len(values) ** 0.5:.2f} (seeds)"
    error = runs[0].get(f"{key}_se")
    return f"{values[0]:.2f}" + (f" +- {error:.2f} (images)" if error else "")
