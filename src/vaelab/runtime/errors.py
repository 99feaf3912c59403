"""Errors that users can correct, and the exceptions that carry an ending past Hydra."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

PLUGIN_EXTRAS = {  # Hydra's plugins, and the extra of vaelab that installs each
    "hydra/sweeper=optuna": "sweep",
    "hydra/launcher=joblib": "sweep",
    "hydra/launcher=ray": "ray",
    "hydra/launcher=submitit_slurm": "slurm",
}


class JobFailed(BaseException):
    """Carries the error of a job (its `__cause__`) past Hydra, which would print a traceback."""


class TrainingStopped(BaseException):
    """A signal stopped the training after an optimizer step that the last checkpoint contains.

    Arguments:
        number: The signal.
        step: The optimizer steps taken.
        folder: The run folder.
    """

    def __init__(self, number: int, step: int, folder: Path):
        name = signal.Signals(number).name
        super().__init__(
            f"stopped by {name} after step {step}; resume with: python train.py resume={folder}"
        )
        self.status = 128 + number


def subprocess_environment() -> dict[str, str]:
    """Return the environment for a vaelab command that this process starts.

    The entry point sets HYDRA_FULL_ERROR for this process only.
    """
    return {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}


def check_extra_installed(extra: str, *packages: str) -> None:
    """Raise ModuleNotFoundError unless the packages of an extra are installed."""
    missing = [package for package in packages if not find_spec(package)]
    if missing:
        raise ModuleNotFoundError(
            f"{', '.join(missing)} is not installed: run pip install -e '.[{extra}]'"
        )


def is_user_error(error: Exception) -> bool:
    """True if an error is about what the user asked for rather than about the code."""
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    kinds = (ValueError, OSError, ModuleNotFoundError, HydraException, OmegaConfBaseException)
    return isinstance(error, (*kinds, MisconfigurationException))


def one_line_message(error: BaseException) -> str:
    """Return the message of an error in one line."""
    if isinstance(error, MissingConfigException):
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if extra := PLUGIN_EXTRAS.get(f"{group}={option}"):
            return f"{group}={option} is not installed: run pip install -e '.[{extra}]'"
        options = f"choose from {', '.join(error.options)}" if error.options else "see --help"
        return f"{group}={option}: there is no such option; {options}"
    if "Config group override must be a string" in str(error):
        return "null is not an option of a config group: see --help for the options"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be parsed; quote values that have commas or brackets"
    return " ".join(str(error).split()) or type(error).__name__
