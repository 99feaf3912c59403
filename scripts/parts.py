"""Fill the tables of docs/parts.md with the numbers of finished runs.

`python scripts/parts.py runs/* multirun/*/*` uses the runs that were trained with experiment=parts
and replace only the part of a row. Other runs are ignored.
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
    parser.add_argument("--page", type=Path, default=PAGE, help="the page whose tables are filled")
    args = parser.parse_args()
    runs = {switch: numbers for folder in args.runs for switch, numbers in read_run(folder)}
    page = args.page.read_text(encoding="utf-8")
    args.page.write_text(
        "\n".join(fill_row(line, runs) for line in page.split("\n")), encoding="utf-8"
    )
    print(f"{len(runs)} runs: {', '.join(sorted(runs))}")


def read_run(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the switch that names the part, and the numbers, of a run of the protocol.

    The switch lists what differs from the protocol, as in `posterior=vmf prior=sphere`. Yields
    nothing for other folders.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        return
    numbers = json.loads(path.read_text(encoding="utf-8"))
    choices = numbers["choices"]
    if any(choices.get(group) != option for group, option in PROTOCOL.items()):
        return
    words = [f"{group}={choices[group]}" for group in GROUPS if choices[group] != GROUPS[group]]
    if numbers["pixels"] != "binary":
        words.insert(0, f"loss={choices['loss']}")
    overrides = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    words += [word for word in overrides if word.startswith(SETTINGS)]
    yield " ".join(words) or "posterior=diagonal", numbers


def fill_row(line: str, runs: dict[str, dict[str, Any]]) -> str:
    """Return a table row with its last cell replaced, or any other line unchanged."""
    row = ROW.match(line)
    if not row or row[1] not in runs:
        return line
    return f"{line.rpartition(' | ')[0]} | {format_result(runs[row[1]])} |"


def format_result(numbers: dict[str, Any]) -> str:
    """Return the NLL in nats with its standard error, KL and active units.

    Without a density there is no NLL: return the root mean squared error of a pixel.
    """
    if "nll" not in numbers:
        return f"RMSE {numbers['rmse']:.4f}"
    text = f"{numbers['nll']:.2f} +- {numbers['nll_se']:.2f} ("
    if numbers["pixels"] != "binary" and "bits_per_dim" in numbers:
        text += f"{numbers['bits_per_dim']:.3f} bits/dim, "
    return f"{text}KL {numbers['kl']:.1f}, {numbers['active_units']} active)"


if __name__ == "__main__":
    entry_point.run_command(main)
