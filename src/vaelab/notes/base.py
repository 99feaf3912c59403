"""Run a study note: train its models, draw its figures and write its numbers.

Each note is a module of this package with `make_note(config: NoteConfig) -> NoteResult`. Its page
docs/notes/NN-some-name.md belongs to the module some_name.py, and `vaelab notes NN` runs it. A
note trains its models by commands, which readers can repeat."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from PIL import Image

from vaelab.figures.draw.style import save_figure
from vaelab.runs.run import RunParts
from vaelab.runtime.errors import UserError, subprocess_environment
from vaelab.runtime.installation import CONF, subprocess_command, train_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMON_OVERRIDES = ("logger=csv", "~callbacks.pictures")
SMOKE_OVERRIDES = ("trainer=smoke", "samples=2")
PROCESSOR_SECONDS_FILE = "processor_s.txt"  # written into the folder of a finished run
MAX_PNG_BYTES = 100_000  # larger PNG files are reduced to REDUCED_COLOURS colours
REDUCED_COLOURS = 96
# MAXCOVERAGE keeps the colours of a few small dots distinct; a median cut would merge them.
QUANTIZATION = Image.Quantize.MAXCOVERAGE
FRAME_SECONDS = 0.12  # duration of one frame of an animation


@dataclass(frozen=True)
class NoteConfig:
    """The settings of one execution of a note.

    Attributes:
        runs: Folder of the runs of this note.
        smoke: If True, train two steps per run and compute few values, as a test of the note.
        processor_seconds: Processor time of the training of each run so far, in seconds.
    """

    runs: Path
    smoke: bool = False
    processor_seconds: list[float] = field(default_factory=list)

    def select(self, full: int, smoke: int) -> int:
        """Return `smoke` in a smoke test and `full` otherwise."""
        return smoke if self.smoke else full

    def train_and_open(self, name: str, *overrides: str) -> RunParts:
        """Train a run with `vaelab train *overrides` and open its best checkpoint."""
        run = RunParts.open(self.train(name, *overrides))
        run.vae.eval()
        return run

    def train(self, name: str, *overrides: str, may_fail: bool = False) -> Path:
        """Train a run with `vaelab train *overrides`.

        An existing run with the same overrides is reused if it is newer than every file in conf.

        Arguments:
            name: Name of the run folder inside `runs`.
            overrides: Hydra overrides of the command.
            may_fail: If True, accept a command that ends with an error, such as NaN metrics.

        Returns:
            The run folder.

        Raises:
            UserError: If the command fails and `may_fail` is False.
        """
        overrides = (*overrides, *COMMON_OVERRIDES, *(SMOKE_OVERRIDES if self.smoke else ()))
        folder = self.runs / name
        print(train_command(), shlex.join(overrides), flush=True)
        if _is_up_to_date(folder, overrides):
            print(f"  using the existing run {folder}; delete it to train again", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            _run_training(overrides, folder, may_fail)
        self.processor_seconds.append(
            float((folder / PROCESSOR_SECONDS_FILE).read_text(encoding="utf-8"))
        )
        return folder


@dataclass(frozen=True)
class NoteResult:
    """The figures and numbers of a note.

    Attributes:
        figures: Figures by the name that follows the note's number in the file name. A list of
            images becomes an animation.
        rows: Rows of one table, which map column titles to numbers or text.
        numbers: Single numbers by their title.
    """

    figures: Mapping[str, Figure | Image.Image | list[Image.Image]]
    rows: Sequence[dict[str, Any]]
    numbers: Mapping[str, Any] = field(default_factory=dict)


def _is_up_to_date(folder: Path, overrides: Sequence[str]) -> bool:
    """True if the folder holds a finished run of these overrides that is newer than the menu."""
    if not (folder / PROCESSOR_SECONDS_FILE).is_file():
        return False
    changed = max(path.stat().st_mtime for path in CONF.rglob("*.yaml"))
    recorded = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    finished = (folder / PROCESSOR_SECONDS_FILE).stat().st_mtime
    return recorded == list(overrides) and changed < finished


def _run_training(overrides: Sequence[str], folder: Path, may_fail: bool) -> None:
    """Train in a subprocess and write its processor time into the run folder."""
    command = subprocess_command("train", *overrides, f"hydra.run.dir={folder}")
    before = _processor_seconds_of_children()
    process = subprocess.run(
        command, env=subprocess_environment(), capture_output=True, encoding="utf-8", check=False
    )
    if process.returncode and not may_fail:
        command_line = f"{train_command()} {shlex.join(overrides)}"
        raise UserError(f"{command_line} failed: {process.stderr.strip()[-500:]}")
    seconds = _processor_seconds_of_children() - before
    (folder / PROCESSOR_SECONDS_FILE).write_text(str(seconds), encoding="utf-8")


def _processor_seconds_of_children() -> float:
    """Return the user and system time of the finished children of this process, in seconds."""
    times = os.times()
    return times.children_user + times.children_system


def run_note(name: str, config: NoteConfig, out: Path) -> None:
    """Run a note, write its figures NN-*.png and its numbers NN.json, and print its table.

    Arguments:
        name: File name of the page without suffix, such as "03-collapse".
        config: Settings of the note.
        out: Folder for the figures and the numbers.
    """
    number, _, module = name.partition("-")
    result = import_module(f"vaelab.notes.{module.replace('-', '_')}").make_note(config)
    out.mkdir(parents=True, exist_ok=True)
    paths = [
        write_figure(figure, out / f"{number}-{title}") for title, figure in result.figures.items()
    ]
    seconds = time.process_time() + sum(config.processor_seconds)
    record = {
        "command": f"vaelab notes {number}",
        "seed": 0,
        "processor_s": round(seconds),
        "numbers": dict(result.numbers),
        "rows": list(result.rows),
    }
    (out / f"{number}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(render_table(result.rows))
    for title, value in result.numbers.items():
        print(f"{title}: {format_value(value)}")
    print(*paths, sep="\n")


def render_table(rows: Sequence[dict[str, Any]]) -> str:
    """Render rows with the same keys as a Markdown table."""
    titles = list(rows[0])
    lines = [
        titles,
        ["---"] * len(titles),
        *([format_value(row[title]) for title in titles] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_value(value: Any) -> str:
    """Format a float with four significant digits, as the pages print it; anything else as text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_figure(figure: Figure | Image.Image | list[Image.Image], path: Path) -> Path:
    """Write a figure as PNG, or a list of images as an animated GIF.

    PNG files above MAX_PNG_BYTES are reduced to a palette of REDUCED_COLOURS colours.

    Arguments:
        figure: The figure, or the frames of an animation.
        path: Path without suffix.

    Returns:
        The path with the suffix .png or .gif.
    """
    if isinstance(figure, list):
        path = path.with_suffix(".gif")
        first, *rest = figure
        times = [int(1000 * FRAME_SECONDS)] * len(rest)
        first.save(path, save_all=True, append_images=rest, duration=[*times, 2000], loop=0)
        return path
    path = save_figure(figure, path.with_suffix(".png"))
    if path.stat().st_size > MAX_PNG_BYTES:
        with Image.open(path) as file:
            reduced = file.convert("RGB").quantize(
                REDUCED_COLOURS, QUANTIZATION, dither=Image.Dither.NONE
            )
        reduced.save(path, optimize=True)
    return path
