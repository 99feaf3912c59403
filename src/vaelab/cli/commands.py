"""The command `vaelab`: one word names what to do, and a module of this folder does it."""

import os
import sys
from importlib import import_module

from vaelab import __version__
from vaelab.cli.entry_point import run_command
from vaelab.runtime.errors import UserError, suggest
from vaelab.runtime.own_project import split_flags

COMMANDS = {
    "train": "train a model, or one for each combination with -m",
    "resume": "continue an interrupted run or multirun",
    "evaluate": "compute likelihood, latents, samples and reconstructions of finished runs",
    "sample": "generate images from a finished run",
    "impute": "fill in missing values by a finished run",
    "figures": "draw the figures of a finished run",
    "report": "write report.html again",
    "explore": "explore finished runs in a browser",
    "export": "write a finished run as ONNX and safetensors",
    "encode": "write the latents of a data set as parquet",
    "rerun": "train a run again and compare the numbers bit for bit",
    "reproduce": "reproduce the results of docs/results.md, in a clone of the repository",
    "notes": "run one of the study notes",
    "new": "write a small project with parts of your own",
    "dashboard": "create a W&B workspace",
}
PROJECT_HELP = """\
Every command takes --trust PACKAGE, whose classes runs may use, and --config-dir FOLDER, which has
options of your own; ./conf is found without it: docs/own-project.md
"""
RESUME_HELP = """\
usage: vaelab resume <run or multirun> [trainer.<key>=<value> ...] [samples=<number>]

Does what the run lacks: training, evaluation, figures and loggers, report. With trainer.* all of it
is done again from the last checkpoint. samples= may change until the run has been evaluated."""
RECIPES = ("train", "sample")  # the commands that compose conf/<name>.yaml


def main() -> None:
    """Run the command `vaelab <name> ...`."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("-sc", "--shell_completion", "--shell-completion"):
        _complete(words)
    elif name in ("--help", "-h"):
        print(_describe_commands())
    elif name == "--version":
        print(f"vaelab {__version__}")
    elif name in COMMANDS:
        sys.argv = [f"vaelab {name}", *words]
        start(name)
    else:
        hint = suggest(name, COMMANDS) or "see vaelab --help"
        sys.exit(f"error: vaelab {name}: there is no such command; {hint}")


def start(name: str) -> None:
    """Run a command on the words of sys.argv."""
    if name == "resume":
        folder, *words = sys.argv[1:] or ["--help"]
        if folder in ("--help", "-h"):
            print(RESUME_HELP)
            return
        name, sys.argv[1:] = "train", [f"resume={folder}", *words]
    run_command(
        lambda: import_module(f"vaelab.cli.{name}").main(),  # not imported for the menu
        name if name in RECIPES else None,
    )


def _describe_commands() -> str:
    lines = ["usage: vaelab <command> ...", ""]
    lines += [f"  {name:10} {description}" for name, description in COMMANDS.items()]
    return "\n".join([*lines, "", PROJECT_HELP, "vaelab <command> --help describes a command."])


def _complete(words: list[str]) -> None:
    """Answer a shell's request for completions, or print the code that installs them.

    The command is completed here, and the words after `vaelab train` by Hydra.
    """
    program, *line = os.environ.get("COMP_LINE", "vaelab").split(" ")
    if any(word.startswith("query=") for word in words):
        if len(line) <= 1:
            print(*COMMANDS)
            return
        if line[0] != "train":
            return
        try:
            line, project = split_flags(line[1:])
        except UserError:  # the value of a flag is not complete
            return
        os.environ |= project | {"COMP_LINE": " ".join([program, *line])}
    sys.argv[0] = "vaelab"  # the name that Hydra installs the completion for
    start("train")
