"""metrics.json: the numbers of a run with all that is needed to trust and to repeat them."""

import json
import math
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vaelab.evaluate import evaluate
from vaelab.likelihoods.gaussian import Gaussian
from vaelab.run import Run, recorded

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
}


def evaluated(run: Run, split: str, samples: int) -> dict[str, Any]:
    """The numbers of `evaluate`, and those that need to know how the model was trained.

    implied_scale is the scale s of a normal decoder, the loss written as SSE / (2 s^2) + KL.
    """
    numbers = evaluate(run.vae, run.data, split, samples, run.cfg.seed)
    numbers |= {"pixels": run.data.pixels, "shape": run.data.shape, "step": run.step}
    kl = getattr(run.module.objective, "kl", None)
    weight = kl.weight(max(run.step - 1, 0)) if kl is not None else 0.0  # of the last step taken
    if isinstance(run.vae.likelihood, Gaussian) and "decoder_scale" in numbers and weight > 0:
        numbers["implied_scale"] = numbers["decoder_scale"] * math.sqrt(weight)
    return numbers


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


def show(numbers: dict[str, Any]) -> None:
    """The table at the end of a run."""
    from rich.console import Console
    from rich.table import Table

    title = f"{numbers['choices']['data']}, {numbers['images']} {numbers['split']} images"
    measure = f"{numbers['choices']['loss']} on {numbers['pixels']} pixels: {numbers['measure']}"
    table = Table("", measure, title=title)
    for key, name in TITLES.items():
        if key in numbers:
            error = f" +- {numbers['nll_se']:.2g}" if key == "nll" else ""
            table.add_row(name, f"{numbers[key]:.6g}{error}")
    Console().print(table)
