"""The table of docs/results.md: the records of the experiments of a list, side by side."""

import shlex
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from vaelab.reproduction import records
from vaelab.reproduction.reproduce import (
    RecordEntry,
    RecordFolders,
    evaluate_command,
    fresh_command,
    is_recorded,
    weights_command,
)
from vaelab.runs import untrusted
from vaelab.runtime.files import atomic_write

BEGIN, END = "<!-- record -->\n", "<!-- end -->\n"
COLUMNS = ("experiment", "published", "NLL", "ELBO", "active units", "seeds", "epochs", "training")
Records = dict[RecordEntry, dict[str, Any]]


def write_results_page(page: Path, text: str) -> None:
    """Put a text between the marks of a page, which is made if it is not there."""
    old = page.read_text() if page.exists() else f"# Results\n\n{BEGIN}{END}"
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f"{page} has no place for the table: put a line {BEGIN.strip()} there and, below it, "
            f"one that is {END.strip()}"
        )
    with atomic_write(page) as part:
        part.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}")


def render_results_table(listed: Sequence[RecordEntry], place: RecordFolders) -> str:
    """A row for each experiment, in a table for each kind of values that can be compared."""
    found: Records = {
        entry: records.read_record(place.record(entry))
        for entry in listed
        if is_recorded(entry, place)
    }
    found = {entry: said for entry, said in found.items() if said.get("nll") is not None}
    lines = []
    for group in dict.fromkeys(map(records.record_group, found.values())):
        some = {entry: said for entry, said in found.items() if records.record_group(said) == group}
        lines += _tabled(group, some, place)
    if missing := [entry for entry in listed if entry not in found]:
        lines.append(f"No record yet of these seeds: {_named(missing)}.")
    return "\n".join(lines).rstrip()


def _named(entries: Iterable[RecordEntry]) -> str:
    groups = groupby(entries, lambda entry: entry.experiment)
    return "; ".join(
        f"{name} {', '.join(str(each.seed) for each in some)}" for name, some in groups
    )


def _tabled(group: str, found: Records, place: RecordFolders) -> list[str]:
    """The table of a group, what its numbers are of, and the commands of the first seeds."""
    rows, lines = [COLUMNS, ["---"] * len(COLUMNS)], []
    for _, some in groupby(found.items(), lambda pair: pair[0].experiment):
        runs = dict(some)
        rows.append(_row([*runs.values()]))
        lines += _commands(next(iter(runs)), place)
    return [
        *(f"### {group}", "", *map(_line, rows), ""),
        *(_measured([*found.values()]), "", "```bash", *lines, "```", ""),
    ]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _measured(found: list[dict[str, Any]]) -> str:
    bits = found[0]["bits_sha256"]
    return (
        f"{_each(found, 'images')} of {_each(found, 'all_images')} test images, "
        f"{_each(found, 'samples')} samples of the bound"
        + (f"; SHA-256 of their bits: `{bits}`." if bits else ".")
    )


def _commands(entry: RecordEntry, place: RecordFolders) -> list[str]:
    made = [fresh_command(entry, place), evaluate_command(entry, place)]
    made += [weights_command(entry, place)] if entry.weights else []
    return [f"python {shlex.join(line)}" for line in made]


def _row(found: list[dict[str, Any]]) -> list[str]:
    """The cells of an experiment."""
    return [
        f"`experiment={found[0]['experiment']}`",
        records.format_published(found[0]["published"]),
        _mean(found, "nll") + _rounded(found),
        _mean(found, "elbo"),
        _range(found, "active_units"),
        _each(found, "seed"),
        f"{_each(found, 'epochs')} of {_each(found, 'train_images')} images",
        _time(found),
    ]


def _mean(found: list[dict[str, Any]], key: str) -> str:
    """Over the seeds, with its standard error; of one run, with that over the images."""
    values = [said[key] for said in found]
    if len(values) > 1:
        return f"{fmean(values):.2f} +- {stdev(values) / len(values) ** 0.5:.2f} (seeds)"
    error = found[0].get(f"{key}_se")
    return f"{values[0]:.2f}" + (f" +- {error:.2f} (images)" if error else "")


def _rounded(found: list[dict[str, Any]]) -> str:
    """The arithmetic of the evaluation, where it was not that of 32 bits."""
    low = [said for said in found if said.get("arithmetic") == "bf16-mixed"]
    some = f" (seed {_each(low, 'seed')})" if len(low) < len(found) else ""
    return f", bf16-mixed{some}" if low else ""


def _each(found: list[dict[str, Any]], key: str) -> str:
    """What the runs say, once where they agree."""
    values = [said.get(key) for said in found]
    return ", ".join(dict.fromkeys(f"{each:,}" for each in values if each is not None))


def _range(found: list[dict[str, Any]], key: str) -> str:
    """The least and the greatest of what the runs say."""
    values = [said[key] for said in found if said.get(key) is not None]
    return " to ".join(str(each) for each in sorted({min(values), max(values)})) if values else ""


def _time(found: list[dict[str, Any]]) -> str:
    """Of the longest training, with what it ran on."""
    timed = [said for said in found if said["wall_s"] is not None]
    if not timed:
        return ""
    longest = max(timed, key=lambda said: said["wall_s"])
    machine, threads = untrusted.get_table(longest, "machine"), longest.get("threads")
    cores = [f"{threads} thread{'s' * (threads != 1)}"] if threads else []
    on = (machine.get("gpus") or [])[:1] or [*cores, machine.get("cpu")]
    return ", ".join([f"{longest['wall_s'] / 60:.1f} min", *filter(None, on)])
