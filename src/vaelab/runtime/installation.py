"""Where the files of this installation are, and how another process runs its commands."""

import os
import sys
from pathlib import Path

from vaelab.runtime.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]
_PROJECT = _PACKAGE.parents[1]
_IS_WHEEL = (_PACKAGE / "conf").is_dir()

CONF = (_PACKAGE if _IS_WHEEL else _PROJECT) / "conf"
CLONE = None if _IS_WHEEL else _PROJECT  # the folder of train.py


def find_clone(command: str) -> Path:
    """Return the folder of the clone that vaelab runs from.

    Arguments:
        command: What needs the clone, for the error message.

    Raises:
        UserError: If vaelab is installed without its repository.
    """
    if CLONE is None:
        raise UserError(
            f"{command} needs the repository of vaelab, which an installed package does not "
            "contain: clone it, and run the command there"
        )
    return CLONE


def train_command() -> str:
    """Return what a user types to train in the working folder."""
    return "python train.py" if Path.cwd() == CLONE else "vaelab train"


def subprocess_command(*words: str) -> list[str]:
    """Return the arguments of a process that runs `vaelab *words`.

    It imports from the same folders as this process, and from no others: not from its working
    folder, which may be untrusted.
    """
    paths = [os.path.abspath(path) for path in sys.path]
    code = f"import sys; sys.path[:] = {paths}; from vaelab.cli.commands import main; main()"
    return [sys.executable, "-c", code, *words]
