"""The contract of a note: a file with `show(asked: Asked) -> Shown`, named as its page.

docs/notes/NN-a-name.md is the page of a_name.py, and `python scripts/notes.py NN` shows it. What a
note trains it trains by the command itself.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from PIL import Image

from vaelab.figures.style import save
from vaelab.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALWAYS = ("logger=csv", "~callbacks.pictures")
SMOKE = ("trainer=smoke", "samples=2")
LARGE = 110_000  # bytes of a file, which is then cut down to 256 colours
SECONDS = 0.12  # of a picture of an animation


@dataclass(frozen=True)
class Asked:
    """What scripts/notes.py was asked for.

    Attributes:
        command: train.py.
        runs: The folder of the runs of this note.
        smoke: Whether two steps of each run and a few numbers will do, to see that it works.
    """

    command: Path
    runs: Path
    smoke: bool = False

    def few(self, count: int, fewer: int) -> int:
        return fewer if self.smoke else count

    def run(self, name: str, *words: str) -> Run:
        """The run that `python train.py *words` makes, with its best weights."""
        run = Run.open(self.train(name, *words))
        run.vae.eval()
        return run

    def train(self, name: str, *words: str, may_fail: bool = False) -> Path:
        """The folder of a run; one that is there already, of the same words, is taken as it is.

        Arguments:
            may_fail: Whether the command may end in an error, its numbers not being finite.
        """
        words = (*words, *ALWAYS, *(SMOKE if self.smoke else ()))
        folder = self.runs / name
        print("python", self.command.name, shlex.join(words), flush=True)
        if _chosen(folder) == list(words):
            print(f"  is in {folder}: delete it to train again", flush=True)
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, str(self.command), *words, f"hydra.run.dir={folder}"]
        alone = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        done = subprocess.run(command, env=alone, capture_output=True, text=True, check=False)
        if done.returncode and not may_fail:
            raise ValueError(f"{shlex.join(words)} failed: {done.stderr.strip()[-500:]}")
        return folder


@dataclass(frozen=True)
class Shown:
    """What a note draws and measures.

    Attributes:
        figures: By the name that follows the note's number in the file's; several pictures in a
            list are an animation.
        rows: Of one table: numbers and words by the titles of its columns.
        numbers: Single ones, by what they are.
    """

    figures: Mapping[str, Figure | Image.Image | list[Image.Image]]
    rows: Sequence[dict[str, Any]]
    numbers: Mapping[str, Any] = field(default_factory=dict)


def _chosen(folder: Path) -> list[str] | None:
    """The words of a run that was finished."""
    if not (folder / "metrics.json").is_file():
        return None
    return yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())


def show(name: str, asked: Asked, out: Path) -> None:
    """Write what a note shows as NN-*.png and NN.json, and print its table."""
    started, used = time.perf_counter(), _processor_time()
    module = import_module(f"vaelab.notes.{name[3:].replace('-', '_')}")
    shown = module.show(asked)
    numbers = {
        "command": f"python scripts/notes.py {name[:2]}",
        "seed": 0,
        "wall_s": round(time.perf_counter() - started, 1),
        "processor_s": round(_processor_time() - used, 1),
        "cores": os.cpu_count(),
        "numbers": dict(shown.numbers),
        "rows": list(shown.rows),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name[:2]}.json").write_text(json.dumps(numbers, indent=2) + "\n")
    print(table(shown.rows))
    for title, number in shown.numbers.items():
        print(f"{title}: {told(number)}")
    for title, figure in shown.figures.items():
        print(write(figure, out / f"{name[:2]}-{title}"))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as a table in Markdown."""
    titles = list(rows[0])
    lines = [titles, ["---"] * len(titles), *([told(row[each]) for each in titles] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def told(value: Any) -> str:
    """A number as a page has it, of four digits; words as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write(figure: Figure | Image.Image | list[Image.Image], path: Path) -> Path:
    """A picture as png, several as an animation."""
    if isinstance(figure, list):
        path = path.with_suffix(".gif")
        first, *rest = figure
        times = [int(1000 * SECONDS)] * len(rest)
        first.save(path, save_all=True, append_images=rest, duration=[*times, 2000], loop=0)
        return path
    path = save(figure, path.with_suffix(".png"))
    if path.stat().st_size > LARGE:
        with Image.open(path) as file:
            small = file.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
    return path


def _processor_time() -> float:
    """Seconds that this process and those it has waited for have computed."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
