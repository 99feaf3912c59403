"""Finish what was begun: which stages of a run are missing.

The file unfinished.txt of a run folder names them, from before the first step until the report is
written. A run of an older version has no such file: its other files tell.
"""

from collections.abc import Sequence
from pathlib import Path

from vaelab.runs import untrusted
from vaelab.runtime.files import atomic_write

STAGES = ("training", "evaluation", "figures", "report")  # the figures include the loggers
UNFINISHED = "unfinished.txt"
REPORT = "report.html"


def find_missing_stages(folder: Path) -> list[str]:
    """Return the stages of a run that are missing, in their order; none if it is finished."""
    recorded = untrusted.read_message(folder / UNFINISHED).split()
    missing = {stage for stage in STAGES if stage in recorded}
    if not (folder / "metrics.json").is_file():
        missing |= {*STAGES[1:]} if missing else {*STAGES}
    if not (folder / REPORT).is_file():
        missing.add("report")
    return list_stages_from(next((stage for stage in STAGES if stage in missing), None))


def list_stages_from(first: str | None) -> list[str]:
    """Return a stage and those that follow it, which depend on it; none for None."""
    return [*STAGES[STAGES.index(first) :]] if first else []


def write_missing_stages(folder: Path, stages: Sequence[str]) -> None:
    """Record which stages of a run are missing; none if it is finished."""
    if not stages:
        (folder / UNFINISHED).unlink(missing_ok=True)
        return
    with atomic_write(folder / UNFINISHED) as part:
        part.write_text("\n".join([*stages, ""]), encoding="utf-8")
