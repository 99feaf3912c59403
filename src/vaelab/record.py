"""metrics.json: the numbers of a run with all that is needed to trust and to repeat them."""

import json
import math
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module

from vaelab.run import Run, recorded
from vaelab.titles import TITLES

PARTS = ("encoder", "posterior", "prior", "decoder", "likelihood")
PACKAGES = ("vaelab", "torch", "pytorch-lightning", "hydra-core", "torchmetrics", "numpy")


def sizes(run: Run) -> dict[str, Any]:
    """The parameters of each part, and how many numbers come from encoder and decoder.

    Of several stochastic layers, no one number says what the encoder gives.
    """
    vae = run.vae
    parts = {name: getattr(vae, name) for name in PARTS} | {"objective": run.module.objective}
    sizes: dict[str, Any] = {"decoder_outputs": [vae.likelihood.outputs, *vae.shape[1:]]}
    if not vae.layered:
        sizes["encoder_outputs"] = vae.posterior.inputs
    counts = {name: _parameters(part) for name, part in parts.items()}
    return sizes | {"parameters": _parameters(vae), "parameters_of": counts}


def _parameters(part: Module) -> int:
    return sum(weight.numel() for weight in part.parameters())


def provenance(folder: Path) -> dict[str, Any]:
    """What was chosen, asked for and installed."""
    return {
        "choices": choices(folder),
        "command": " ".join(sys.argv),
        "git": _git(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
    }


def choices(folder: Path) -> dict[str, str]:
    """The option taken from each config group in the run of this folder."""
    return recorded(folder).choices


def _git() -> dict[str, Any] | None:
    def git(*words: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def write(numbers: dict[str, Any], path: Path) -> None:
    """Write beside the old file and rename, so that there is always a whole one."""
    part = path.with_suffix(".part")
    finite = {name: value if is_finite(value) else None for name, value in numbers.items()}
    part.write_text(json.dumps(finite, indent=2) + "\n")
    part.replace(path)


def is_finite(value: Any) -> bool:
    """Whether a number, or every number of a list, can be written as JSON."""
    if isinstance(value, list):
        return all(map(is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def titled(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    """The numbers that have a title, with their standard errors, as they are shown."""
    found = []
    for key, title in TITLES.items():
        if numbers.get(key) is not None:
            error = f" +- {numbers[f'{key}_se']:.2g}" if f"{key}_se" in numbers else ""
            found.append((str(title), f"{numbers[key]:.6g}{error}"))
    return found


def heading(numbers: dict[str, Any]) -> tuple[str, str]:
    """What was measured, and what its likelihood is."""
    of = f"{numbers['choices']['data']}, {numbers['images']} {numbers['split']} images"
    return of, f"{numbers['choices']['loss']} on {numbers['pixels']} pixels: {numbers['measure']}"


def remarks(numbers: dict[str, Any]) -> list[str]:
    """What is wrong with the model, and what parts of an evaluation are absent and why."""
    wrong = [numbers[key] for key in ("collapse", "kl_warning") if key in numbers]
    absent = numbers.get("absent", {}).items()
    return [*wrong, *(f"no {part}: {reason}" for part, reason in absent)]


def show(numbers: dict[str, Any]) -> None:
    """The table at the end of a run."""
    from rich.console import Console
    from rich.table import Table

    title, measure = heading(numbers)
    table = Table("", measure, title=title)
    for row in titled(numbers):
        table.add_row(*row)
    Console().print(table)
    for remark in remarks(numbers):
        print(remark)


def table(numbers: dict[str, Any]) -> list[str]:
    """The same table, in lines of markdown."""
    _, measure = heading(numbers)
    rows = [f"| {name} | {value} |" for name, value in titled(numbers)]
    return [f"| | {measure} |", "|---|---|", *rows]


def markdown(numbers: dict[str, Any]) -> str:
    """A page of the numbers, with the command that gave them."""
    title, _ = heading(numbers)
    lines = [f"# {title}", "", *table(numbers), "", *(f"- {each}" for each in remarks(numbers))]
    return "\n".join([*lines, "", f"`{numbers['command']}`", ""])
