"""Errors of users: how they pass Hydra, and how they are told in one line."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

PLUGINS = {  # of Hydra, and the extra that each is in
    "hydra/sweeper=optuna": "sweep",
    "hydra/launcher=joblib": "sweep",
    "hydra/launcher=ray": "ray",
    "hydra/launcher=submitit_slurm": "slurm",
}


class JobFailed(BaseException):
    """Carries the error of a job past Hydra, which would print it in its own way."""


class TrainingStopped(BaseException):
    """A signal has ended a training after a step, and its last checkpoint is of that step."""

    def __init__(self, number: int, step: int, folder: Path):
        name = signal.Signals(number).name
        super().__init__(f"{name} after step {step}: python train.py resume={folder} goes on")
        self.status = 128 + number


def subprocess_environment() -> dict[str, str]:
    """That of a command which this one calls: its errors, too, end in one line."""
    return {name: word for name, word in os.environ.items() if name != "HYDRA_FULL_ERROR"}


def check_extra_installed(name: str, *packages: str) -> None:
    """Refuse to begin without the packages of an extra."""
    missing = [package for package in packages if not find_spec(package)]
    if missing:
        raise ModuleNotFoundError(
            f"{', '.join(missing)} is not installed: pip install -e '.[{name}]' does it"
        )


def is_user_error(error: Exception) -> bool:
    """Whether an error is about what was asked for, not about the code."""
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    users = (ValueError, OSError, ModuleNotFoundError, HydraException, OmegaConfBaseException)
    return isinstance(error, (*users, MisconfigurationException))


def one_line_message(error: BaseException) -> str:
    """The message of an error in one line."""
    if isinstance(error, MissingConfigException):
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if extra := PLUGINS.get(f"{group}={option}"):
            return f"{group}={option} is not installed: pip install -e '.[{extra}]' does it"
        choices = f"choose from {', '.join(error.options)}" if error.options else "--help has them"
        return f"{group}={option}: there is no such option; {choices}"
    if "Config group override must be a string" in str(error):
        return "a group is one of its options, not null: --help has them"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: this cannot be read; quote values with commas or brackets"
    return " ".join(str(error).split()) or type(error).__name__
