"""Runs a command: --help, signals, and one line for every error that the user can correct."""

import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vaelab.cli.menu import render_help
from vaelab.cli.secrets import find_secret
from vaelab.runtime import slurm
from vaelab.runtime.errors import (
    JobFailed,
    TrainingStopped,
    UserError,
    is_user_error,
    one_line_message,
)
from vaelab.runtime.overrides import is_resume_command, quote_paths
from vaelab.runtime.own_project import find_own_conf, project_environment
from vaelab.runtime.posix import keep_freed_memory


def run_command(main: Callable[[], Any], recipe: str | None = None) -> None:
    """Run a command; an error that the user can correct prints one line and exits with status 1.

    HYDRA_FULL_ERROR=1 prints the traceback instead.

    Arguments:
        recipe: The command composes conf/<recipe>.yaml; None if it does not use Hydra.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # Windows cannot print every name of a folder
        sys.stdout.reconfigure(errors="backslashreplace")
    with ExitStack() as stack:
        try:
            sys.argv[1:] = stack.enter_context(project_environment(sys.argv[1:]))
        except UserError as error:
            sys.exit(f"error: {error}")
        try:
            _run_command(main, recipe)
            sys.stdout.flush()
        except BrokenPipeError:  # what reads the output, such as head, has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)


def _run_command(main: Callable[[], Any], recipe: str | None) -> None:
    """Run a command whose own options and trusted packages are known."""
    if recipe and {"--help", "-h"} & {*sys.argv[1:]}:
        try:
            print(render_help(recipe, _find_words_after_help(sys.argv[1:])))
        except UserError as error:
            sys.exit(f"error: {error}")
        return
    from vaelab.runs.jobs import read_jobs  # imports Hydra, which --help does not need
    from vaelab.sweeps import multirun

    if secret := find_secret(sys.argv[1:]):
        sys.exit(f"error: {secret}")
    keep_freed_memory()
    if recipe == "train":
        sys.argv[1:] = _words_for_hydra(quote_paths(sys.argv[1:]))
    prints_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors instead of printing them
    previous = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        if recipe and not is_resume_command(sys.argv[1:]) and not slurm.is_worker_rank():
            _check_words(recipe)
        main()
    except (Exception, JobFailed) as failure:
        error = failure.__cause__ if isinstance(failure, JobFailed) else failure
        if (folder := multirun.active_folder.get()) and isinstance(error, Exception):
            _finish_multirun(folder)
            error = multirun.explain_sweep_error(error, read_jobs(folder))
        if prints_traceback or not isinstance(error, Exception) or not is_user_error(error):
            raise
        sys.exit(f"error: {one_line_message(error)}")
    except TrainingStopped as stopped:
        if not multirun.active_folder.get() and not slurm.is_worker_rank():
            print(stopped, file=sys.stderr)
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, previous)
        if folder := multirun.active_folder.get():
            print(f"interrupted; resume with: {multirun.resume_hint(folder)}")
            multirun.active_folder.set(None)


def _find_words_after_help(words: list[str]) -> list[str]:
    """Return the groups that --help is asked about: `--help model`, also `--help model=conv`."""
    first = next(number for number, word in enumerate(words) if word in ("--help", "-h"))
    groups = (word.partition("=")[0] for word in words[first + 1 :])
    return [group for group in groups if not group.startswith("-")]


def _check_words(recipe: str) -> None:
    """Check the words of a training, and say which own options were found."""
    from vaelab.cli.overrides import check_training_words

    if recipe == "train":
        check_training_words(sys.argv[1:])
    folder = find_own_conf()
    if folder and not {"-sc", "--shell_completion", "--shell-completion"} & {*sys.argv}:
        print(f"own options: {folder}", file=sys.stderr)


def _words_for_hydra(words: list[str]) -> list[str]:
    """Return the words that Hydra parses in place of the command line."""
    from vaelab.sweeps import multirun

    try:
        words = multirun.expand_resume_command(words)
    except ValueError as error:
        sys.exit(f"error: {one_line_message(error)}")
    flags = [word for word in words if word in ("-m", "--multirun")]
    words = [*flags, *(word for word in words if word not in flags)]  # argparse needs flags first
    if slurm.is_worker_rank() and not is_resume_command(words):
        return [*words, "hydra.output_subdir=null"]  # the first process writes it
    return words


def _finish_multirun(folder: Path) -> None:
    """Print the results so far of a multirun that an error ended."""
    from vaelab.sweeps import multirun
    from vaelab.sweeps.hydra_callback import finish_multirun

    multirun.active_folder.set(None)
    finish_multirun(folder)
