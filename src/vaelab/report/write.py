"""Reports: one html file for a run or a multirun."""

import logging
from pathlib import Path

from vaelab.report import run, sweep
from vaelab.report.texts import TRANSLATORS
from vaelab.runs.jobs import find_jobs, is_run_folder
from vaelab.runtime.errors import UserError
from vaelab.runtime.language import find_language

log = logging.getLogger(__name__)


def write_report(folder: Path, language: str | None = None) -> Path:
    """Write report.html of a run or a multirun, and return its path.

    Arguments:
        language: Of the page, en or zh; None means that of VAELAB_LANGUAGE.

    Raises:
        UserError: If the folder is neither, or a link leads out of it.
    """
    translate = TRANSLATORS[language or find_language()]
    if is_run_folder(folder):
        return run.write_run_report(folder, translate)
    if folder.is_dir() and find_jobs(folder):
        return sweep.write_sweep_report(folder, translate)
    raise UserError(f"{folder} is neither a run nor a multirun: it has no .hydra folder")


def write_report_or_warn(folder: Path) -> None:
    """Write the report of a finished run or multirun, and print its path.

    Any error becomes a warning, so that a defect of the report does not lose the results.
    """
    try:
        print(write_report(folder).resolve())
    except Exception as error:  # noqa: BLE001
        message = " ".join(str(error).split())
        log.warning("cannot write the report of %s: %s: %s", folder, type(error).__name__, message)
