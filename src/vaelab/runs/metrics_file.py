"""metrics.json: the numbers of a run with all that is needed to trust and to repeat them.

What a run begins with is in provenance.json before its first step: command, code, versions,
threads, machine and the hashes of its data; code that is not committed is in uncommitted.diff.
"""

import json
import math
from pathlib import Path
from typing import Any

from vaelab.runtime.files import atomic_write
from vaelab.runtime.metric_names import METRICS


def write_numbers(numbers: dict[str, Any], path: Path) -> None:
    """Write a file of numbers, in which those that are not finite are null."""
    finite = {name: value if all_finite(value) else None for name, value in numbers.items()}
    with atomic_write(path) as part:
        part.write_text(json.dumps(finite, indent=2) + "\n")


def all_finite(value: Any) -> bool:
    """Whether a number, or every number of a list, can be written as JSON."""
    if isinstance(value, list):
        return all(map(all_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def format_numbers(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    """The numbers that have a title, with their standard errors, as they are shown."""
    found = []
    for key, title in METRICS.items():
        if numbers.get(key) is not None:
            error = numbers.get(f"{key}_se")
            error = f" +- {error:.2g}" if error is not None else ""
            found.append((str(title), f"{numbers[key]:.6g}{error}"))
    return found


def table_heading(numbers: dict[str, Any]) -> tuple[str, str]:
    """What was measured, and what its likelihood is."""
    of = f"{numbers['choices']['data']}, {numbers['images']} {numbers['split']} images"
    return of, f"{numbers['choices']['loss']} on {numbers['pixels']} pixels: {numbers['measure']}"


def list_remarks(numbers: dict[str, Any]) -> list[str]:
    """What is wrong with the model, and what parts of an evaluation are absent and why."""
    wrong = [numbers[key] for key in ("collapse", "kl_warning") if key in numbers]
    absent = numbers.get("absent", {}).items()
    return [*wrong, *(f"no {part}: {reason}" for part, reason in absent)]


def print_numbers(numbers: dict[str, Any]) -> None:
    """The table at the end of a run."""
    from rich.console import Console
    from rich.table import Table

    title, measure = table_heading(numbers)
    table = Table("", measure, title=title)
    for row in format_numbers(numbers):
        table.add_row(*row)
    Console().print(table)
    for remark in list_remarks(numbers):
        print(remark)


def markdown_table(numbers: dict[str, Any]) -> list[str]:
    """The same table, in lines of markdown."""
    _, measure = table_heading(numbers)
    rows = [f"| {name} | {value} |" for name, value in format_numbers(numbers)]
    return [f"| | {measure} |", "|---|---|", *rows]


def markdown_page(numbers: dict[str, Any]) -> str:
    """A page of the numbers, with the command that gave them."""
    title, _ = table_heading(numbers)
    lines = [
        f"# {title}",
        "",
        *markdown_table(numbers),
        "",
        *(f"- {each}" for each in list_remarks(numbers)),
    ]
    return "\n".join([*lines, "", f"`{numbers['command']}`", ""])
