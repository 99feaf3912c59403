"""Reproduce the record of docs/results.md: `vaelab reproduce [<experiment> ...]`.

Trains and evaluates the experiments of results/record.yaml one after the other, with commands that
are printed. What results/ already contains is not computed again, and the same command resumes what
was interrupted. `--results runs/again --runs runs/again` computes everything anew in other folders.
"""

import argparse
from pathlib import Path

from vaelab.runtime.errors import UserError
from vaelab.runtime.files import expand_home
from vaelab.runtime.installation import CONF, find_clone

RECORD, PAGE = Path("results"), Path("docs/results.md")


def main() -> None:
    """Reproduce the experiments of the command line."""
    arguments = _make_parser().parse_args()
    if arguments.smoke and (arguments.results or arguments.page):
        raise UserError("--smoke writes to the folder of --runs: leave out --results and --page")

    from vaelab.reproduction.reproduce import (
        RecordFolders,
        check_entry,
        make_smoke_folders,
        read_entries,
        reproduce_entry,
        select_entries,
    )
    from vaelab.reproduction.results_page import render_results_table, write_results_page

    clone = find_clone("vaelab reproduce")
    entries = read_entries(arguments.list, CONF)
    selected = select_entries(entries, arguments.experiments)
    if arguments.smoke:
        folders = make_smoke_folders(clone, arguments.runs or Path("runs/smoke"))
    else:
        runs, results = arguments.runs or Path("runs/record"), arguments.results or RECORD
        folders = RecordFolders(clone, runs, results)
    is_record = folders.results == RECORD
    page = arguments.page or (PAGE if is_record else folders.results / "results.md")
    for entry in selected:
        check_entry(entry, folders)
    write_results_page(page, render_results_table(entries, folders))
    for entry in selected if arguments.only != "page" else []:
        reproduce_entry(entry, folders, arguments.only)
        write_results_page(page, render_results_table(entries, folders))
    print(page)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", metavar="experiment", help="by default all")
    parser.add_argument(
        "--list",
        type=expand_home,
        default=RECORD / "record.yaml",
        help="the yaml file that names them",
    )
    parser.add_argument(
        "--runs", type=expand_home, help="the folder of the run folders: runs/record"
    )
    parser.add_argument(
        "--results", type=expand_home, help="for the numbers and the weights: results"
    )
    parser.add_argument(
        "--page",
        type=expand_home,
        help="where the table is written: docs/results.md, or results.md in --results",
    )
    parser.add_argument("--only", choices=("train", "evaluate", "page"), help="one of the steps")
    parser.add_argument("--smoke", action="store_true", help="two steps of each run, as a test")
    return parser
