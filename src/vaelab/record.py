"""metrics.json: the numbers of a run with all that is needed to trust and to repeat them."""

import json
import math
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

PACKAGES = ("vaelab", "torch", "pytorch-lightning", "hydra-core", "torchmetrics", "numpy")
TITLES = {
    "elbo": "ELBO (nats)",
    "elbo_exact": "ELBO, exact (nats)",
    "reconstruction": "reconstruction (nats)",
    "kl": "KL (nats)",
    "nll": "NLL (nats)",
    "bits_per_dim": "bits/dim",
    "active_units": "active units",
    "rmse": "RMSE of a pixel",
    "decoder_scale": "decoder scale",
    "implied_scale": "implied decoder scale",
    "elbo_gap": "ELBO, training images better by (nats)",
    "nll_gap": "NLL, training images better by (nats)",
}


def provenance(folder: Path) -> dict[str, Any]:
    """What was chosen, asked for and installed."""
    return {
        "choices": choices(folder),
        "command": " ".join(sys.argv),
        "git": _git(),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
    }


def choices(folder: Path) -> dict[str, str]:
    """The option taken from each config group in the run of this folder."""
    found = OmegaConf.select(OmegaConf.load(folder / ".hydra" / "hydra.yaml"), "hydra.runtime")
    return {group: name for group, name in found.choices.items() if not group.startswith("hydra")}


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
            found.append((title, f"{numbers[key]:.6g}{error}"))
    return found


def heading(numbers: dict[str, Any]) -> tuple[str, str]:
    """What was measured, and what its likelihood is."""
    of = f"{numbers['choices']['data']}, {numbers['images']} {numbers['split']} images"
    return of, f"{numbers['choices']['loss']} on {numbers['pixels']} pixels: {numbers['measure']}"


def show(numbers: dict[str, Any]) -> None:
    """The table at the end of a run."""
    from rich.console import Console
    from rich.table import Table

    title, measure = heading(numbers)
    table = Table("", measure, title=title)
    for row in titled(numbers):
        table.add_row(*row)
    Console().print(table)


def markdown(numbers: dict[str, Any]) -> str:
    """The same table for a page, with what is absent and why, and the command."""
    title, measure = heading(numbers)
    lines = [f"# {title}", "", f"| | {measure} |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in titled(numbers)]
    lines += ["", *(f"- no {part}: {why}" for part, why in numbers.get("absent", {}).items())]
    return "\n".join([*lines, "", f"`{numbers['command']}`", ""])
