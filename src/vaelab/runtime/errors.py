"""Errors that users can correct, and the exceptions that carry an ending past Hydra."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from vaelab.runtime.overrides import quote_for_shell, quote_override

PLUGIN_EXTRAS = {  # Hydra's plugins, and the extra of vaelab that installs each
    "hydra/sweeper=optuna": "sweep",
    "hydra/launcher=joblib": "sweep",
    "hydra/launcher=ray": "ray",
    "hydra/launcher=submitit_slurm": "slurm",
}
SYSTEM_ERRORS = (  # of the machine, such as a full disk, and not of the code
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG, errno.ENOTDIR),
)


class UserError(ValueError):
    """What the user can correct: a command prints its message in one line and exits with status 1.

    The message says what is wrong, what came, and what to write instead. Own parts may raise it.
    All other errors keep their traceback.
    """


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that the user named does not exist."""


class MissingExtraError(UserError, ModuleNotFoundError):
    """A package of an extra of vaelab is not installed."""


class JobFailed(BaseException):
    """Carries the error of a job (its `__cause__`) past Hydra, which would print a traceback."""


class TrainingStopped(BaseException):
    """A signal stopped a run, which its last checkpoint, if any, resumes.

    Arguments:
        number: The signal.
        resume: The command that resumes the run.
        step: The optimizer steps taken, if the training was stopped after a step.
    """

    def __init__(self, number: int, resume: str, step: int | None = None):
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        after = "" if step is None else f" after step {step}"
        super().__init__(f"stopped by {name}{after}; resume with: {resume}")
        self.status = 128 + number


def suggest(word: str, names: Iterable[str], prefix: str = "") -> str:
    """Return "did you mean ...?" with the name that is nearest to a misspelt word, or "".

    Arguments:
        prefix: What to write before the name, such as "loss=".
    """
    nearest = get_close_matches(word, list(names), 1)
    return f"did you mean {prefix}{nearest[0]}?" if nearest else ""


def subprocess_environment() -> dict[str, str]:
    """Return the environment for a vaelab command that this process starts.

    The entry point sets HYDRA_FULL_ERROR for this process only.
    """
    return {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}


def check_extra_installed(extra: str, *packages: str) -> None:
    """Raise MissingExtraError unless the packages of an extra are installed."""
    missing = [package for package in packages if not find_spec(package)]
    if missing:
        raise MissingExtraError(f"{', '.join(missing)} is not installed: run {install_hint(extra)}")


def install_hint(extra: str) -> str:
    """Return the command that installs an extra of vaelab."""
    return f"pip install 'vaelab[{extra}]'"


@contextmanager
def error_log(folder: Path) -> Iterator[None]:
    """Append the traceback of an error in the context to error.log, unless the user can correct it.

    Arguments:
        folder: The run folder.
    """
    try:
        yield
    except Exception as error:
        if not is_user_error(error):
            with (folder / "error.log").open("a", encoding="utf-8") as file:
                traceback.print_exception(error, file=file)
        raise


def is_user_error(error: BaseException) -> bool:
    """True if an error is about what the user asked for, or the machine, rather than the code."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    kinds = (UserError, HydraException, OmegaConfBaseException)
    if lightning := sys.modules.get("pytorch_lightning"):  # slow to import only for its error
        kinds = (*kinds, lightning.utilities.exceptions.MisconfigurationException)
    is_system_error = isinstance(error, OSError) and error.errno in SYSTEM_ERRORS
    return isinstance(error, kinds) or is_system_error or _is_about_words(error)


def _is_about_words(error: BaseException) -> bool:
    """True for a ValueError of Hydra itself, such as that of kl=null."""
    frames = list(traceback.walk_tb(error.__traceback__))
    module = frames[-1][0].f_globals.get("__name__", "") if frames else ""
    return isinstance(error, ValueError) and module.startswith("hydra.")


def one_line_message(error: BaseException) -> str:
    """Return the message of an error in one line."""
    from hydra.errors import MissingConfigException, OverrideParseException

    if isinstance(error, MissingConfigException):
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if extra := PLUGIN_EXTRAS.get(f"{group}={option}"):
            return f"{group}={option} is not installed: run {install_hint(extra)}"
        options = f"choose from {', '.join(error.options)}" if error.options else "see --help"
        hint = suggest(option, error.options or [], f"{group}=") or options
        return f"{group}={option}: there is no such option; {hint}"
    if isinstance(error, OverrideParseException):
        return _describe_unparsed_word(str(error.override))
    return " ".join(str(error).split()) or type(error).__name__


def _describe_unparsed_word(word: str) -> str:
    """Return what to type in place of a word that Hydra's grammar refuses."""
    key, is_override, value = word.partition("=")
    if not is_override:
        return f"{word}: cannot be parsed; write key=value, and quote values that have blanks"
    quoted = quote_for_shell(f"{key}={quote_override(value)}")
    return f"{word}: cannot be parsed; if its value is a text, type {quoted}"
