"""What every command has in common: the menu of --help, and errors in one line."""

import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab import keys, multirun, slurm

USAGE = {
    "train": """\
python train.py [group=option ...] [key=value ...]     one run
python train.py -m model=mlp,conv loss=bce,mse         one run for each combination
python train.py resume=runs/<run>                      go on with one that was stopped
python train.py resume=multirun/<folder>               what is missing of it

Every group has a default, marked *. Keys of a group are set by its name, as in kl.beta=4.
""",
    "sample": """\
python scripts/sample.py <run> [sampler=option] [key=value ...]     images of a finished run
""",
}


PLUGINS = {  # of Hydra, and the extra that each is in
    "hydra/sweeper=optuna": "sweep",
    "hydra/launcher=joblib": "sweep",
    "hydra/launcher=ray": "ray",
    "hydra/launcher=submitit_slurm": "slurm",
}


def menu(conf: Path) -> str:
    """Every group of the config folder, its options, and the first comment of each."""
    lines = [section(conf, recipe) for recipe in USAGE]
    lines.append("hydra/launcher=joblib|ray|slurm runs the jobs of -m side by side: docs/scale.md")
    lines.append("Hydra's own options: --hydra-help. The composed config: --cfg job")
    return "\n".join(lines)


def section(conf: Path, name: str) -> str:
    """What can be typed after the command whose recipe is conf/<name>.yaml."""
    recipe = (conf / f"{name}.yaml").read_text()
    lines = [USAGE[name]]
    for group in _groups(conf, name):
        chosen = re.findall(rf"^  - {group}: (\w+)", recipe, re.MULTILINE)
        lines.append(f"{group}=")
        for file in sorted((conf / group).glob("*.yaml")):
            mark = "*" if file.stem in chosen else " "
            lines.append(f"  {mark} {file.stem:18} {_comment(file)}")
        lines.append("")
    own = recipe.split("\n\n")[1].splitlines()
    lines += ["Other keys", *(f"    {line}" for line in own), ""]
    return "\n".join(lines)


def _groups(conf: Path, name: str) -> list[str]:
    """Those that the recipe conf/<name>.yaml chooses from."""
    return re.findall(r"^  - (\w+):", (conf / f"{name}.yaml").read_text(), re.MULTILINE)


def _comment(file: Path) -> str:
    lines = file.read_text().removeprefix("# @package _global_\n")
    return lines.split("\n", 1)[0].removeprefix("# ")


class JobFailed(BaseException):
    """Carries the error of a job past Hydra, which would print it in its own way."""


class Stopped(BaseException):
    """A signal has ended a training after a step, and its last checkpoint is of that step."""

    def __init__(self, number: int, step: int, folder: Path):
        name = signal.Signals(number).name
        super().__init__(f"{name} after step {step}: python train.py resume={folder} goes on")
        self.status = 128 + number


def run(main: Callable[[], Any], conf: Path | None = None, recipe: str = "train") -> None:
    """Call a command; what the user can mend ends in one line and exit status 1.

    HYDRA_FULL_ERROR=1 shows the traceback instead.

    Arguments:
        conf: The config folder, for a command that composes conf/<recipe>.yaml.
    """
    if conf and {"--help", "-h"} & set(sys.argv[1:]):
        print(menu(conf) if recipe == "train" else section(conf, recipe))
        return
    if refused := keys.refusal(sys.argv[1:]):
        sys.exit(f"error: {refused}")
    keep_memory()
    if conf and recipe == "train":
        sys.argv[1:] = _expanded(sys.argv[1:])
    whole = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        main()
    except (Exception, JobFailed) as failure:
        _close_multirun()
        error = failure.__cause__ if isinstance(failure, JobFailed) else failure
        if whole or not isinstance(error, Exception) or not is_users(error):
            raise
        unknown = re.match(r"Could not override '([^']+)'", str(error))
        known = unknown and conf and _unknown(unknown[1], conf, recipe)
        sys.exit(f"error: {known or one_line(error)}")
    except Stopped as stopped:
        if not multirun.open_folders and not slurm.helps():  # of whose jobs it is one
            print(stopped, file=sys.stderr)
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)
        while multirun.open_folders:  # it was interrupted
            print(multirun.how_to_go_on(multirun.open_folders.popitem()[0]))


def users_environment() -> dict[str, str]:
    """That of a command which this one calls: its errors, too, end in one line."""
    return {name: word for name, word in os.environ.items() if name != "HYDRA_FULL_ERROR"}


def _expanded(words: list[str]) -> list[str]:
    """What Hydra is to read in place of the command line."""
    try:
        words = multirun.expanded(words)
    except ValueError as error:
        sys.exit(f"error: {one_line(error)}")
    flags = [word for word in words if word in ("-m", "--multirun")]
    words = [*flags, *(word for word in words if word not in flags)]  # argparse wants them together
    if slurm.helps() and not multirun.goes_on(words):
        return [*words, "hydra.output_subdir=null"]  # the first process writes it
    return words


def _close_multirun() -> None:
    """Show what was done in a multirun that an error ends."""
    while multirun.open_folders:
        folder, close = multirun.open_folders.popitem()
        close(folder)


def keep_memory() -> None:
    """Have malloc keep up to 1 GiB for its next caller instead of giving it back to the system.

    Fetching it again, page by page, can take as long as the arithmetic in between.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:  # glibc has it; the numbers are those of its malloc.h
        mallopt(-1, 2**30)  # M_TRIM_THRESHOLD
        mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, at its maximum


def check_extra(name: str, *packages: str) -> None:
    """Refuse to begin without the packages of an extra."""
    missing = [package for package in packages if not find_spec(package)]
    if missing:
        raise ModuleNotFoundError(
            f"{', '.join(missing)} is not installed: pip install -e '.[{name}]' does it"
        )


def is_users(error: Exception) -> bool:
    """Whether an error is about what was asked for, not about the code."""
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    users = (ValueError, OSError, ModuleNotFoundError, HydraException, OmegaConfBaseException)
    return isinstance(error, (*users, MisconfigurationException))


def one_line(error: BaseException) -> str:
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


def _unknown(key: str, conf: Path, recipe: str) -> str:
    """What to say of a key that the config does not have: which ones it has there."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    groups = _groups(conf, recipe)
    chosen = [word for word in sys.argv[1:] if word.partition("=")[0] in groups]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        cfg = compose(recipe, [word for word in chosen if "," not in word])
    above = key
    while above and not OmegaConf.is_dict(OmegaConf.select(cfg, above)):
        above = above.rpartition(".")[0]
    found = OmegaConf.select(cfg, above) if above else cfg
    names = ", ".join(name for name in sorted(map(str, found)) if name[0] != "_")
    return f"{key}: there is no such key; {above or 'the config'} has {names or 'no keys'}"
