"""What every command has in common: the menu of --help, and errors in one line."""

import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vaelab.cli import secrets
from vaelab.cli.menu import _groups, render_menu, render_menu_section
from vaelab.runtime import overrides, slurm
from vaelab.runtime.errors import JobFailed, TrainingStopped, is_user_error, one_line_message
from vaelab.sweeps import multirun


def run_command(main: Callable[[], Any], conf: Path | None = None, recipe: str = "train") -> None:
    """Call a command; what the user can mend ends in one line and exit status 1.

    HYDRA_FULL_ERROR=1 shows the traceback instead.

    Arguments:
        conf: The config folder, for a command that composes conf/<recipe>.yaml.
    """
    if conf and {"--help", "-h"} & set(sys.argv[1:]):
        print(render_menu(conf) if recipe == "train" else render_menu_section(conf, recipe))
        return
    if refused := secrets.find_secret(sys.argv[1:]):
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
        if whole or not isinstance(error, Exception) or not is_user_error(error):
            raise
        unknown = re.match(r"Could not override '([^']+)'", str(error))
        known = unknown and conf and _unknown(unknown[1], conf, recipe)
        sys.exit(f"error: {known or one_line_message(error)}")
    except TrainingStopped as stopped:
        if not multirun.open_folders and not slurm.is_worker_rank():  # of whose jobs it is one
            print(stopped, file=sys.stderr)
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)
        while multirun.open_folders:  # it was interrupted
            print(multirun.resume_hint(multirun.open_folders.popitem()[0]))


def _expanded(words: list[str]) -> list[str]:
    """What Hydra is to read in place of the command line."""
    try:
        words = multirun.expand_resume_command(words)
    except ValueError as error:
        sys.exit(f"error: {one_line_message(error)}")
    flags = [word for word in words if word in ("-m", "--multirun")]
    words = [*flags, *(word for word in words if word not in flags)]  # argparse wants them together
    if slurm.is_worker_rank() and not overrides.is_resume_command(words):
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
