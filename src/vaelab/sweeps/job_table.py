"""The table of the jobs of a multirun, in the terminal and as csv."""

import csv
from pathlib import Path
from typing import Any

from vaelab.runs.jobs import COLUMNS, FAILED, SIZES
from vaelab.runtime.metric_names import get_metric


def write_job_table(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the rows of `read_jobs` as csv."""
    names = ["job", "choices", "group", *COLUMNS, "failed"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def print_job_tables(rows: list[dict[str, Any]]) -> None:
    """Print a table for each group of comparable jobs, ranked by the monitored value."""
    from rich.console import Console
    from rich.table import Column, Table

    for group in dict.fromkeys(row["group"] for row in rows):
        members = [row for row in rows if row["group"] == group]
        shown = [
            key
            for key in COLUMNS
            if any(key in row for row in members)
            and (key not in SIZES or len({row.get(key) for row in members}) > 1)
        ]
        numbers = [Column(_column_title(key), justify="right", no_wrap=True) for key in shown]
        last = [Column("reason")] if group == FAILED else []
        table = Table("job", Column("choices", overflow="fold"), *numbers, *last, title=group)
        for row in members:
            values = [f"{row[key]:.4g}" if key in row else "" for key in shown]
            table.add_row(row["job"], row["choices"], *values, *(row["failed"] for _ in last))
        Console().print(table)


def _column_title(key: str) -> str:
    """Return the title of a column, with one word per line to keep the column narrow."""
    metric = get_metric(key)
    return (str(metric) if metric.unit == "s" else metric.name).replace(" ", "\n")
