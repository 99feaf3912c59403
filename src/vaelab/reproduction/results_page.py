"""The tables of docs/results.md: the records of the experiments of a list, side by side."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from vaelab.reproduction import records
from vaelab.reproduction.records import Record
from vaelab.reproduction.reproduce import (
    RecordEntry,
    RecordFolders,
    build_evaluate_command,
    build_train_command,
    build_weights_command,
    is_recorded,
)
from vaelab.runs import untrusted
from vaelab.runtime.errors import UserError
from vaelab.runtime.files import atomic_write
from vaelab.runtime.metric_names import METRICS

BEGIN_MARK, END_MARK = "<!-- record -->\n", "<!-- end -->\n"
COLUMNS = (
    *("experiment", "published"),
    *(METRICS[key].name for key in ("nll", "elbo", "active_units")),
    *("seeds", "epochs", "training"),
)


def write_results_page(page: Path, text: str) -> None:
    """Write a text between the marks of a page. A missing page is created.

    Raises:
        UserError: If the page has no marks.
    """
    old = (
        page.read_text(encoding="utf-8")
        if page.exists()
        else f"# Results\n\n{BEGIN_MARK}{END_MARK}"
    )
    before, begin, rest = old.partition(BEGIN_MARK)
    _, end, after = rest.partition(END_MARK)
    if not begin or not end:
        raise UserError(
            f"{page} has no marks for the table: add a line {BEGIN_MARK.strip()} and below it a "
            f"line {END_MARK.strip()}"
        )
    with atomic_write(page) as part:
        part.write_text(f"{before}{BEGIN_MARK}\n{text}\n\n{END_MARK}{after}", encoding="utf-8")


def render_results_table(entries: Sequence[RecordEntry], folders: RecordFolders) -> str:
    """Render a row for each experiment, in a table for each group of comparable records."""
    recorded: dict[RecordEntry, Record] = {}
    groups: dict[str, dict[RecordEntry, Record]] = {}
    for entry in entries:
        if not is_recorded(entry, folders):
            continue
        record = records.read_record(folders.record_path(entry))
        if record.get("nll") is not None:
            recorded[entry] = record
            groups.setdefault(records.describe_comparison_group(record), {})[entry] = record
    lines = []
    for name, members in groups.items():
        lines += _render_group(name, members, folders)
    if missing := [entry for entry in entries if entry not in recorded]:
        lines.append(f"No record yet of these seeds: {_list_entries(missing)}.")
    return "\n".join(lines).rstrip()


def _list_entries(entries: Iterable[RecordEntry]) -> str:
    groups = groupby(entries, lambda entry: entry.experiment)
    return "; ".join(
        f"{name} {', '.join(str(entry.seed) for entry in members)}" for name, members in groups
    )


def _render_group(
    name: str, members: Mapping[RecordEntry, Record], folders: RecordFolders
) -> list[str]:
    """Render the table of a group, how it was evaluated, and the commands of the first seeds."""
    rows, commands = [COLUMNS, ["---"] * len(COLUMNS)], []
    for _, pairs in groupby(members.items(), lambda pair: pair[0].experiment):
        seeds = dict(pairs)
        rows.append(_build_row([*seeds.values()]))
        commands += _list_commands(next(iter(seeds)), folders)
    return [
        *(f"### {name}", "", *map(_render_line, rows), ""),
        *(_describe_evaluation([*members.values()]), "", "```bash", *commands, "```", ""),
    ]


def _render_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _describe_evaluation(group: Sequence[Record]) -> str:
    bits = group[0]["bits_sha256"]
    return (
        f"{_join_values(group, 'images')} of {_join_values(group, 'all_images')} test images, "
        f"{_join_values(group, 'samples')} importance samples"
        + (f"; SHA-256 of the binarized pixels: `{bits}`." if bits else ".")
    )


def _list_commands(entry: RecordEntry, folders: RecordFolders) -> list[str]:
    commands = [build_train_command(entry, folders), build_evaluate_command(entry, folders)]
    commands += [build_weights_command(entry, folders)] if entry.weights else []
    return [f"python {shlex.join(line)}" for line in commands]


def _build_row(seeds: Sequence[Record]) -> list[str]:
    """Build the cells of an experiment from the records of its seeds."""
    return [
        f"`experiment={seeds[0]['experiment']}`",
        records.format_published(seeds[0]["published"]),
        _format_mean(seeds, "nll") + _format_precision(seeds),
        _format_mean(seeds, "elbo"),
        _format_range(seeds, "active_units"),
        _join_values(seeds, "seed"),
        f"{_join_values(seeds, 'epochs')} of {_join_values(seeds, 'train_images')} images",
        _format_training_time(seeds),
    ]


def _format_mean(seeds: Sequence[Mapping[str, Any]], key: str) -> str:
    """Format the mean over seeds with its standard error, or one value with that over images."""
    values = [record[key] for record in seeds]
    if len(values) > 1:
        return f"{fmean(values):.2f} +- {stdev(values) / len(values) ** 0.5:.2f} (seeds)"
    error = seeds[0].get(f"{key}_se")
    return f"{values[0]:.2f}" + (f" +- {error:.2f} (images)" if error else "")


def _format_precision(seeds: Sequence[Record]) -> str:
    """Name the precision of evaluations that were not in float32, and their seeds."""
    low = [record for record in seeds if record.get("arithmetic") == "bf16-mixed"]
    some = f" (seed {_join_values(low, 'seed')})" if len(low) < len(seeds) else ""
    return f", bf16-mixed{some}" if low else ""


def _join_values(group: Sequence[Mapping[str, Any]], key: str) -> str:
    """Join the distinct values of records."""
    values = [record.get(key) for record in group]
    return ", ".join(dict.fromkeys(f"{value:,}" for value in values if value is not None))


def _format_range(seeds: Sequence[Mapping[str, Any]], key: str) -> str:
    """Format the smallest and the largest value."""
    values = [record[key] for record in seeds if record.get(key) is not None]
    return " to ".join(map(str, sorted({min(values), max(values)}))) if values else ""


def _format_training_time(seeds: Sequence[Record]) -> str:
    """Format the duration of the longest training, and its hardware."""
    timed = [record for record in seeds if record["wall_s"] is not None]
    if not timed:
        return ""
    longest = max(timed, key=lambda record: record["wall_s"] or 0.0)
    machine, threads = untrusted.get_table(longest, "machine"), longest.get("threads")
    cores = [f"{threads} thread{'s' * (threads != 1)}"] if threads else []
    hardware = (machine.get("gpus") or [])[:1] or [*cores, machine.get("cpu")]
    return ", ".join([f"{(longest['wall_s'] or 0.0) / 60:.1f} min", *filter(None, hardware)])
