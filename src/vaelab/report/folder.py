"""The contents of a run folder as plain values; what is missing or damaged is empty."""

import contextlib
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from vaelab.runs import untrusted
from vaelab.runs.metrics_file import (
    EvaluationNumbers,
    RunMetrics,
    read_evaluation_numbers,
    read_run_metrics,
)
from vaelab.runs.paths import DATA_DESCRIPTION, FAILURE
from vaelab.runtime.installation import train_command
from vaelab.runtime.own_project import project_flags

IMAGE_FOLDERS = ("figures", "evaluation", "samples")  # folders of a run with images
FIRST_FIGURES = ("reconstructions", "samples", "pairs", "traversals", "walks", "map")


@dataclass(frozen=True)
class RunFolder:
    """The files of a run.

    Attributes:
        path: The run folder.
        cfg: .hydra/config.yaml with unresolved interpolations.
        options: The selected option of each config group.
        overrides: The words of the command line, without Hydra's own.
        numbers: metrics.json, with None for NaN and infinity.
        data: data.json, the description of the data set.
        rows: The rows of metrics.csv, each with the keys that were logged at its step.
        failure: Why the run has no numbers, or why its numbers are not valid; None if it finished.
        working_directory: The folder in which the command was run.
    """

    path: Path
    cfg: dict[str, Any] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    numbers: RunMetrics = field(default_factory=RunMetrics)
    data: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    failure: str | None = None
    working_directory: str | None = None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the files of a run folder, which may be untrusted.

        Raises:
            UserError: If a link leads out of the folder.
        """
        untrusted.check_links(path)
        hydra = path / ".hydra"
        runtime = untrusted.get_table(_read_yaml(hydra / "hydra.yaml", {}).get("hydra"), "runtime")
        numbers, damage = _read_numbers(path)
        options = numbers.get("choices") or untrusted.get_table(runtime, "choices")
        return cls(
            path,
            _read_yaml(hydra / "config.yaml", {}),
            {
                str(group): str(option)
                for group, option in options.items()
                if option is not None and not str(group).startswith("hydra")
            },
            [str(word) for word in _read_yaml(hydra / "overrides.yaml", [])],
            numbers,
            _read_description(path / DATA_DESCRIPTION),
            _read_rows(path / "metrics.csv"),
            _find_failure(path, numbers, damage),
            runtime.get("cwd"),
        )

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def shape(self) -> Any:
        """The shape of one x, None if it is unknown."""
        described = self.numbers.get("shape") or self.data.get("shape")
        return described or untrusted.get_table(self.cfg, "data").get("shape")

    @property
    def command(self) -> str:
        """The command line that repeats the run."""
        return format_command(self.overrides)

    @property
    def choices(self) -> dict[str, str]:
        """The overrides by key: {"model": "mlp", "kl.beta": "4"}."""
        return dict(split_override(word) for word in self.overrides)

    @property
    def images(self) -> list[Path]:
        """The png files of IMAGE_FOLDERS, FIRST_FIGURES first."""
        paths = [
            path for folder in IMAGE_FOLDERS for path in sorted((self.path / folder).rglob("*.png"))
        ]
        files = [
            path
            for path in paths
            if path.is_file() and "wandb" not in path.relative_to(self.path).parts
        ]
        order = {name: number for number, name in enumerate(FIRST_FIGURES)}
        return sorted(files, key=lambda path: order.get(path.stem, len(order)))

    @property
    def evaluations(self) -> dict[str, EvaluationNumbers]:
        """The numbers of later evaluations of the run, by the name of the evaluation."""
        paths = sorted(self.path.glob("evaluation/*/numbers.json"))
        named = [(path.parent.name, path) for path in paths]
        for path in sorted(self.path.glob("evaluation-*.json")):
            named.append((path.stem.removeprefix("evaluation-"), path))
        evaluations = {}
        for name, path in named:
            with contextlib.suppress(ValueError, OSError):
                evaluations[name] = read_evaluation_numbers(path)
        return {name: numbers for name, numbers in evaluations.items() if numbers}

    def get_settings(self, group: str) -> dict[str, Any]:
        """Return the plain values of a config group, without interpolations and nested nodes."""
        node = self.cfg.get(group)
        return select_plain_values(node) if isinstance(node, dict) else {}


def format_command(overrides: Iterable[str], *options: str) -> str:
    """Return the command line of a training for a POSIX shell."""
    return f"{train_command()} {shlex.join([*options, *overrides])}".rstrip() + project_flags()


def split_override(word: str) -> tuple[str, str]:
    """Split an override into key and value: "+kl.beta=4" is ("kl.beta", "4")."""
    key, equals, value = word.partition("=")
    return key.lstrip("+~"), value if equals else "removed" if word[:1] == "~" else ""


def select_plain_values(node: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a config node, without interpolations, nested nodes and _keys_."""
    return {
        str(key): value
        for key, value in node.items()
        if not str(key).startswith("_") and not isinstance(value, dict) and "${" not in str(value)
    }


def read_multirun_overrides(path: Path) -> list[str]:
    """Return the words after `vaelab train -m` of a multirun, empty if they cannot be read."""
    hydra = _read_yaml(path / "multirun.yaml", {}).get("hydra")
    words = untrusted.get_table(hydra, "overrides").get("task")
    return [str(word) for word in words] if isinstance(words, list) else []


def _read_numbers(path: Path) -> tuple[RunMetrics, str | None]:
    """Return metrics.json, and the reason if it cannot be read."""
    try:
        return read_run_metrics(path / "metrics.json"), None
    except (ValueError, OSError) as error:
        return {}, str(error)


def _read_description(path: Path) -> dict[str, Any]:
    try:
        return untrusted.read_numbers(path)
    except (ValueError, OSError):
        return {}


def _read_yaml(path: Path, default: Any) -> Any:
    """Return a yaml file, or the default if it cannot be read or has another type."""
    try:
        content = untrusted.read_yaml(path)
    except (OSError, ValueError):
        return default
    return content if isinstance(content, type(default)) else default


def _read_rows(path: Path) -> list[dict[str, float]]:
    try:
        return untrusted.read_csv_rows(path)
    except (OSError, ValueError):
        return []


def _find_failure(path: Path, numbers: RunMetrics, damage: str | None) -> str | None:
    failure = path / FAILURE
    if failure.is_file():
        return untrusted.read_message(failure)
    if numbers:
        return None
    return damage or "it was interrupted, or it is still running"
