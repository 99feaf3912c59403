"""The contract of a note: a file with `show(asked: Asked) -> Shown`, named as its page.

docs/notes/NN-a-name.md is the page of a_name.py, and `python scripts/notes.py NN` shows it. What a
note trains it trains by the command itself.
"""

from __future__ import annotations

import json
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from PIL import Image

from vaelab.figures.draw.style import save_figure
from vaelab.runs.run import Run
from vaelab.runtime.errors import subprocess_environment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALWAYS = ("logger=csv", "~callbacks.pictures")
SMOKE = ("trainer=smoke", "samples=2")
TOOK = "processor_s.txt"  # in the folder of a finished run
LARGE, COLOURS = 100_000, 96  # bytes of a file that is cut down to so many colours
KEEP_APART = Image.Quantize.MAXCOVERAGE  # those of a few dots too, which a median cut would mix
SECONDS = 0.12  # of a picture of an animation


@dataclass(frozen=True)
class NoteConfig:
    """What scripts/notes.py was asked for.

    Attributes:
        command: train.py.
        runs: The folder of the runs of this note.
        smoke: Whether two steps of each run and a few numbers will do, to see that it works.
        trainings: The seconds that processors computed for each run, whenever that was.
    """

    command: Path
    runs: Path
    smoke: bool = False
    trainings: list[float] = field(default_factory=list)

    def few(self, count: int, fewer: int) -> int:
        return fewer if self.smoke else count

    def run(self, name: str, *words: str) -> Run:
        """The run that `python train.py *words` makes, with its best weights."""
        run = Run.open(self.train(name, *words))
        run.vae.eval()
        return run

    def train(self, name: str, *words: str, may_fail: bool = False) -> Path:
        """The folder of a run.

        One that is there already, of the same words and younger than conf, is taken as it is.

        Arguments:
            may_fail: Whether the command may end in an error, its numbers not being finite.
        """
        words = (*words, *ALWAYS, *(SMOKE if self.smoke else ()))
        folder = self.runs / name
        print("python", self.command.name, shlex.join(words), flush=True)
        if _is_there(folder, words, self.command.parent / "conf"):
            print(f"  is in {folder}: delete it to train again", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            _train(self.command, words, folder, may_fail)
        self.trainings.append(float((folder / TOOK).read_text()))
        return folder


@dataclass(frozen=True)
class NoteResult:
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


def _is_there(folder: Path, words: Sequence[str], conf: Path) -> bool:
    """Whether a run of these words was finished after the config files were last changed."""
    if not (folder / TOOK).is_file():
        return False
    changed = max(path.stat().st_mtime for path in conf.rglob("*.yaml"))
    chosen = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
    return chosen == list(words) and changed < (folder / TOOK).stat().st_mtime


def _train(command: Path, words: Sequence[str], folder: Path, may_fail: bool) -> None:
    line = [sys.executable, str(command), *words, f"hydra.run.dir={folder}"]
    before = _processor_s(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        line, env=subprocess_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode and not may_fail:
        raise ValueError(f"{shlex.join(words)} failed: {done.stderr.strip()[-500:]}")
    (folder / TOOK).write_text(str(_processor_s(resource.RUSAGE_CHILDREN) - before))


def _processor_s(who: int) -> float:
    """Seconds that the processors have computed for this process, or for those it waited for."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def show_note(name: str, asked: NoteConfig, out: Path) -> None:
    """Write what a note shows as NN-*.png and NN.json, and print its table."""
    shown = import_module(f"vaelab.notes.{name[3:].replace('-', '_')}").show(asked)
    out.mkdir(parents=True, exist_ok=True)
    paths = [
        write_figure(each, out / f"{name[:2]}-{title}") for title, each in shown.figures.items()
    ]
    numbers = {
        "command": f"python scripts/notes.py {name[:2]}",
        "seed": 0,
        "processor_s": round(_processor_s(resource.RUSAGE_SELF) + sum(asked.trainings)),
        "numbers": dict(shown.numbers),
        "rows": list(shown.rows),
    }
    (out / f"{name[:2]}.json").write_text(json.dumps(numbers, indent=2) + "\n")
    print(render_table(shown.rows))
    for title, number in shown.numbers.items():
        print(f"{title}: {format_value(number)}")
    print(*paths, sep="\n")


def render_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as a table in Markdown."""
    titles = list(rows[0])
    lines = [
        titles,
        ["---"] * len(titles),
        *([format_value(row[each]) for each in titles] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_value(value: Any) -> str:
    """A number as a page has it, of four digits; words as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_figure(figure: Figure | Image.Image | list[Image.Image], path: Path) -> Path:
    """A picture as png, several as an animation."""
    if isinstance(figure, list):
        path = path.with_suffix(".gif")
        first, *rest = figure
        times = [int(1000 * SECONDS)] * len(rest)
        first.save(path, save_all=True, append_images=rest, duration=[*times, 2000], loop=0)
        return path
    path = save_figure(figure, path.with_suffix(".png"))
    if path.stat().st_size > LARGE:
        with Image.open(path) as file:
            small = file.convert("RGB").quantize(COLOURS, KEEP_APART, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
    return path
