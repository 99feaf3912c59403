"""What a run folder holds, as plain values; what is missing in it is empty here."""

import contextlib
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from vaelab.runs import untrusted
from vaelab.runs.paths import FAILURE

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
        untrusted.check_links(path)
        hydra = path / ".hydra"
        runtime = untrusted.get_table(_yaml(hydra / "hydra.yaml", {}).get("hydra"), "runtime")
        numbers, damage = _numbers(path)
        options = numbers.get("choices") or untrusted.get_table(runtime, "choices")
        return cls(
            path,
            _yaml(hydra / "config.yaml", {}),
            {
                str(group): str(option)
                for group, option in options.items()
                if option is not None and not str(group).startswith("hydra")
            },
            [str(word) for word in _yaml(hydra / "overrides.yaml", [])],
            numbers,
            _rows(path / "metrics.csv"),
            _reason(path, numbers, damage),
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
        own = [
            path
            for path in found
            if path.is_file() and "wandb" not in path.relative_to(self.path).parts
        ]
        order = {name: place for place, name in enumerate(FIRST)}
        return sorted(own, key=lambda path: order.get(path.stem, len(order)))

    @property
    def evaluations(self) -> dict[str, dict[str, Any]]:
        """The numbers of scripts that looked at the run again, by the name of each."""
        later = sorted(self.path.glob("evaluation/*/numbers.json"))
        named = [(path.parent.name, path) for path in later]
        for path in sorted(self.path.glob("evaluation-*.json")):
            named.append((path.stem.removeprefix("evaluation-"), path))
        found = {}
        for name, path in named:
            with contextlib.suppress(ValueError, OSError):
                found[name] = untrusted.read_numbers(path)
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
    words = untrusted.get_table(_yaml(path / "multirun.yaml", {}).get("hydra"), "overrides").get(
        "task"
    )
    return [str(word) for word in words] if isinstance(words, list) else []


def _numbers(path: Path) -> tuple[dict[str, Any], str | None]:
    """metrics.json, and what is wrong with it."""
    try:
        return untrusted.read_numbers(path / "metrics.json"), None
    except (ValueError, OSError) as error:
        return {}, str(error)


def _yaml(path: Path, default: Any) -> Any:
    try:
        found = untrusted.read_yaml(path)
    except (OSError, ValueError):
        return default
    return found if isinstance(found, type(default)) else default


def _rows(path: Path) -> list[dict[str, float]]:
    try:
        return untrusted.read_csv_rows(path)
    except (OSError, ValueError):
        return []


def _reason(path: Path, numbers: dict[str, Any], damage: str | None) -> str | None:
    failed = path / FAILURE
    if failed.is_file():
        return failed.read_text(errors="replace").strip()
    if numbers:
        return None
    return damage or "it was interrupted, or it is still running"
