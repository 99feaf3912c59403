"""The contract of a note: a file with `show(asked: Asked) -> Shown`, named as its page.

docs/notes/NN-a-name.md is the page of a_name.py, and `python scripts/notes.py NN` shows it. What a
note trains it trains by the command itself.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vaelab.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

SMOKE = ("trainer=smoke", "samples=2")


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

    def train(self, name: str, *words: str, fails: bool = False) -> Path:
        """The folder of a run; one that is there already, of the same words, is taken as it is.

        Arguments:
            fails: Whether the command is expected to end in an error.
        """
        words = (*words, "logger=csv", *(SMOKE if self.smoke else ()))
        folder = self.runs / name
        print("python", self.command.name, shlex.join(words), flush=True)
        if _chosen(folder) == list(words):
            print(f"  is in {folder}: delete it to train again", flush=True)
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, str(self.command), *words, f"hydra.run.dir={folder}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if (done.returncode != 0) != fails:
            raise ValueError(f"{shlex.join(words)} failed: {done.stderr.strip()[-500:]}")
        return folder


@dataclass(frozen=True)
class Shown:
    """What a note draws and measures.

    Attributes:
        figures: By the name that follows the note's number in the file's; several pictures in a
            list are an animation.
        rows: Of one table: numbers and words by the titles of its columns.
    """

    figures: dict[str, Figure | list[Image.Image]]
    rows: list[dict[str, Any]]


def _chosen(folder: Path) -> list[str] | None:
    """The words of a run that was finished."""
    if not (folder / "metrics.json").is_file():
        return None
    return yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
