"""What a run folder holds, as plain values; what is missing in it is empty here."""

import csv
import json
import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vaelab.jobs import FAILURE

PICTURES = ("figures", "evaluation", "samples")  # the folders of a run that hold some
FIRST = ("reconstructions", "samples", "traversals", "walks", "map")  # of figures


@dataclass(frozen=True)
class RunFolder:
    """A run as its files tell it.

    Attributes:
        cfg: .hydra/config.yaml, its interpolations as they were written.
        options: The option taken from each config group.
        overrides: What was typed, without Hydra's own.
        numbers: metrics.json; what is not finite is None.
        rows: Of metrics.csv, each with what was logged at its step.
        failed: Why there are no numbers, or why they are not to be trusted.
        typed_in: The folder the command was typed in.
    """

    path: Path
    cfg: dict[str, Any] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    failed: str | None = None
    typed_in: str | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        hydra = path / ".hydra"
        runtime = (_yaml(hydra / "hydra.yaml", {}).get("hydra") or {}).get("runtime") or {}
        numbers = numbers_in(path / "metrics.json")
        options = numbers.get("choices") or {
            group: option
            for group, option in (runtime.get("choices") or {}).items()
            if not group.startswith("hydra")
        }
        return cls(
            path,
            _yaml(hydra / "config.yaml", {}),
            {group: str(option) for group, option in options.items() if option is not None},
            [str(word) for word in _yaml(hydra / "overrides.yaml", [])],
            numbers,
            _rows(path / "metrics.csv"),
            _reason(path, numbers),
            runtime.get("cwd"),
        )

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def command(self) -> str:
        return command(self.overrides)

    @property
    def choices(self) -> dict[str, str]:
        """The typed values by their keys: {"model": "mlp", "kl.beta": "4"}."""
        return dict(choice(word) for word in self.overrides)

    @property
    def pictures(self) -> list[Path]:
        """Those of figures first, and of them what shows most."""
        found = [
            path for folder in PICTURES for path in sorted((self.path / folder).rglob("*.png"))
        ]
        own = [path for path in found if "wandb" not in path.relative_to(self.path).parts]
        order = {name: place for place, name in enumerate(FIRST)}
        return sorted(own, key=lambda path: order.get(path.stem, len(order)))

    @property
    def evaluations(self) -> dict[str, dict[str, Any]]:
        """The numbers of scripts that looked at the run again, by the name of each."""
        later = sorted(self.path.glob("evaluation/*/numbers.json"))
        found = {path.parent.name: numbers_in(path) for path in later}
        for path in sorted(self.path.glob("evaluation-*.json")):
            found[path.stem.removeprefix("evaluation-")] = numbers_in(path)
        return {name: numbers for name, numbers in found.items() if numbers}

    def settings(self, group: str) -> dict[str, Any]:
        """The keys of a group that are choices, not links to others and not how it is built."""
        node = self.cfg.get(group)
        return plain(node) if isinstance(node, dict) else {}


def command(overrides: Iterable[str], *first: str) -> str:
    """The line that runs it again, for a POSIX shell."""
    return shlex.join(["python", "train.py", *first, *overrides])


def choice(word: str) -> tuple[str, str]:
    """An override taken apart: "+kl.beta=4" is ("kl.beta", "4")."""
    key, equals, value = word.partition("=")
    return key.lstrip("+~"), value if equals else "left out" if word[:1] == "~" else ""


def plain(node: dict[str, Any]) -> dict[str, Any]:
    """What of a config's node is a value, no link to another and no node below."""
    return {
        str(key): value
        for key, value in node.items()
        if not str(key).startswith("_") and not isinstance(value, dict) and "${" not in str(value)
    }


def is_run(path: Path) -> bool:
    return (path / ".hydra").is_dir()


def jobs_of(path: Path) -> list[Path]:
    """The run folders of a multirun."""
    return sorted(filter(is_run, path.iterdir())) if path.is_dir() else []


def overrides_of_multirun(path: Path) -> list[str]:
    """What was typed behind `train.py -m`."""
    hydra = _yaml(path / "multirun.yaml", {}).get("hydra") or {}
    return [str(word) for word in (hydra.get("overrides") or {}).get("task") or []]


def numbers_in(path: Path) -> dict[str, Any]:
    """A file of numbers, with None for what is not finite; empty where there is none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return (
        {str(key): _finite(value) for key, value in found.items()}
        if isinstance(found, dict)
        else {}
    )


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _yaml(path: Path, default: Any) -> Any:
    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, YAMLError, OmegaConfBaseException, UnicodeDecodeError):
        return default
    return found if isinstance(found, type(default)) else default


def _rows(path: Path) -> list[dict[str, float]]:
    try:
        with path.open(newline="", errors="replace") as file:
            return [_row(row) for row in csv.DictReader(file)]
    except (OSError, csv.Error):
        return []


def _row(row: dict[str, Any]) -> dict[str, float]:
    return {key: number for key, text in row.items() if (number := _number(text)) is not None}


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _reason(path: Path, numbers: dict[str, Any]) -> str | None:
    failed = path / FAILURE
    if failed.is_file():
        return failed.read_text(errors="replace").strip()
    if numbers:
        return None
    return "it was interrupted, or it is still running"
