"""What identifies a run in a tracking service: its words, its multirun, its original, its ids."""

import json
import re
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from vaelab.runs import untrusted
from vaelab.runs.jobs import find_multirun, read_overrides
from vaelab.runs.paths import MULTIRUN_RECORD, RERUN_OF, TRACKING_IDS
from vaelab.runtime.errors import UserError
from vaelab.runtime.files import atomic_write

ID = re.compile(r"[\w.-]{1,128}")  # of a run in a tracking service
IGNORED_WORDS = ("logger", "hydra.")  # beginnings of words that do not describe a run
MAX_NAME = 128  # characters of the name of a run


def is_multirun_job() -> bool:
    """True in the process of a job that a multirun has started."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def find_original(folder: Path) -> Path | None:
    """Return the folder of the run that a rerun repeats, None if the run is no rerun."""
    text = untrusted.read_message(folder / RERUN_OF)
    return Path(text) if text and text.isprintable() else None


def find_group(folder: Path) -> str | None:
    """Return the name of the multirun of a run, or of the run that it repeats; else None."""
    for each in (folder, find_original(folder)):
        if each is not None and (multirun := find_multirun(each)):
            return multirun.name
    return None


def describe_choices(folder: Path) -> str:
    """Return the words of the command of a run; in a multirun, those that differ between its jobs.

    Words about loggers are left out. A run without other words is called default.
    """
    words = [word for word in read_overrides(folder) if not word.startswith(IGNORED_WORDS)]
    if multirun := find_multirun(find_original(folder) or folder):
        common = _read_multirun_words(multirun)
        words = [word for word in words if word not in common] or words
    name = " ".join(words) or "default"
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}..."


def _read_multirun_words(multirun: Path) -> list[str]:
    """Read the words of the command of a multirun; an unreadable record gives none."""
    try:
        record = untrusted.read_yaml(multirun / MULTIRUN_RECORD)
    except (ValueError, OSError):
        return []
    overrides = untrusted.get_table(untrusted.get_table(record, "hydra"), "overrides")
    words = overrides.get("task")
    return [str(word) for word in words] if isinstance(words, list) else []


def read_tracking_id(folder: Path, service: str) -> str | None:
    """Return the id that a run folder records for a tracking service, None if it has no valid one.

    Arguments:
        service: wandb or mlflow.
    """
    found = _read_tracking_ids(folder).get(service)
    return found if isinstance(found, str) and ID.fullmatch(found) else None


def record_tracking_id(folder: Path, service: str, run_id: str) -> None:
    """Record in a run folder under which id a tracking service knows the run."""
    ids = _read_tracking_ids(folder) | {service: run_id}
    with atomic_write(folder / TRACKING_IDS) as part:
        part.write_text(json.dumps(ids) + "\n", encoding="utf-8")


def _read_tracking_ids(folder: Path) -> dict[str, object]:
    try:
        ids = json.loads(untrusted.read_text(folder / TRACKING_IDS))
    except (UserError, ValueError, RecursionError):
        return {}
    return ids if isinstance(ids, dict) else {}
