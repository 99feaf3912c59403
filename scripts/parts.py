"""Fill the tables of docs/parts.md with the numbers of finished runs.

`python scripts/parts.py runs/* multirun/*/*` takes those that were trained as experiment=parts says
and differ from it in the part of a row; the others are passed over.
"""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vaelab.cli import entry_point

PAGE = Path(__file__).parent.parent / "docs" / "parts.md"
ROW = re.compile(r"^\| `([^`]+)` \|.*$")
GROUPS = {
    "model": "mlp",
    "posterior": "diagonal",
    "prior": "normal",
    "objective": "elbo",
    "kl": "constant",
}
SETTINGS = ("loss.", "kl.", "prior.", "posterior.", "objective.")
PROTOCOL = {"data": "mnist", "experiment": "parts"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--page", type=Path, default=PAGE, help="the tables to be filled")
    asked = parser.parse_args()
    found = {switch: numbers for folder in asked.runs for switch, numbers in measured(folder)}
    page = asked.page.read_text()
    asked.page.write_text("\n".join(filled(line, found) for line in page.split("\n")))
    print(f"{len(found)} runs: {', '.join(sorted(found))}")


def measured(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a run of the protocol differs in, as it is typed, and its numbers; else nothing."""
    path = folder / "metrics.json"
    if not path.is_file():
        return
    numbers = json.loads(path.read_text())
    choices = numbers["choices"]
    if any(choices.get(group) != option for group, option in PROTOCOL.items()):
        return
    words = [f"{group}={choices[group]}" for group in GROUPS if choices[group] != GROUPS[group]]
    if numbers["pixels"] != "binary":
        words.insert(0, f"loss={choices['loss']}")
    settings = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
    words += [each for each in settings if each.startswith(SETTINGS)]
    yield " ".join(words) or "posterior=diagonal", numbers


def filled(line: str, found: dict[str, dict[str, Any]]) -> str:
    """A row with its last cell replaced, or the line as it is."""
    row = ROW.match(line)
    if not row or row[1] not in found:
        return line
    return f"{line.rpartition(' | ')[0]} | {figure(found[row[1]])} |"


def figure(numbers: dict[str, Any]) -> str:
    """NLL in nats and what goes with it, or what a run without a density has."""
    if "nll" not in numbers:
        return f"RMSE {numbers['rmse']:.4f}"
    text = f"{numbers['nll']:.2f} +- {numbers['nll_se']:.2f} ("
    if numbers["pixels"] != "binary" and "bits_per_dim" in numbers:
        text += f"{numbers['bits_per_dim']:.3f} bits/dim, "
    return f"{text}KL {numbers['kl']:.1f}, {numbers['active_units']} active)"


if __name__ == "__main__":
    entry_point.run_command(main)
