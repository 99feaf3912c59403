"""One html file for a run or a multirun: `python scripts/report.py <folder>` makes it again."""

import logging
from pathlib import Path

from vaelab.report import run, sweep
from vaelab.report.folder import is_run, jobs_of

log = logging.getLogger(__name__)


def write_report(folder: Path) -> Path:
    """report.html in the folder of a run, or of a multirun."""
    if is_run(folder):
        return run.write_run_report(folder)
    if jobs_of(folder):
        return sweep.write_sweep_report(folder)
    raise ValueError(f"{folder} is the folder of neither a run nor a multirun: no .hydra is there")


def write_report_or_warn(folder: Path) -> None:
    """Print where the report is. What was computed is worth more: no error of a report ends it."""
    try:
        print(write_report(folder).resolve())
    except Exception as error:  # noqa: BLE001
        log.warning(
            "no report of %s: %s: %s", folder, type(error).__name__, " ".join(str(error).split())
        )
