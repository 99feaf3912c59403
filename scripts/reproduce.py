"""Make the record of docs/results.md again: `python scripts/reproduce.py [<experiment> ...]`.

The experiments of results/record.yaml are trained and evaluated one after the other, by commands
that are printed. What is in results/ already is not done again, and what was stopped goes on: type
the same command. `--results runs/again --runs runs/again` does all anew, beside it.
"""

import argparse
from pathlib import Path

from vaelab.cli import entry_point

ROOT = Path(__file__).parent.parent
RECORD, PAGE = Path("results"), Path("docs/results.md")


def main() -> None:
    asked = _parser().parse_args()
    if asked.smoke and (asked.results or asked.page):
        raise ValueError("--smoke writes into the folder of --runs: leave out --results and --page")

    from vaelab.reproduction import results_page
    from vaelab.reproduction.reproduce import (
        RecordFolders,
        check_entry,
        read_entries,
        reproduce_entry,
        select_entries,
        smoke_folders,
    )

    listed = read_entries(asked.list, ROOT / "conf")
    wanted = select_entries(listed, asked.experiments)
    if asked.smoke:
        place = smoke_folders(ROOT, asked.runs or Path("runs/smoke"))
    else:
        place = RecordFolders(ROOT, asked.runs or Path("runs/record"), asked.results or RECORD)
    told = asked.page or (PAGE if place.results == RECORD else place.results / "results.md")
    for entry in wanted:
        check_entry(entry, place)
    results_page.write_results_page(told, results_page.render_results_table(listed, place))
    for entry in wanted if asked.only != "page" else []:
        reproduce_entry(entry, place, asked.only)
        results_page.write_results_page(told, results_page.render_results_table(listed, place))
    print(told)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", metavar="experiment", help="by default all")
    parser.add_argument(
        "--list", type=Path, default=RECORD / "record.yaml", help="the yaml file that names them"
    )
    parser.add_argument("--runs", type=Path, help="the folder of the run folders: runs/record")
    parser.add_argument("--results", type=Path, help="for the numbers and the weights: results")
    parser.add_argument(
        "--page",
        type=Path,
        help="where the table goes: docs/results.md, or results.md in --results",
    )
    parser.add_argument("--only", choices=("train", "evaluate", "page"), help="one step of it")
    parser.add_argument("--smoke", action="store_true", help="two steps of each, to see it run")
    return parser


if __name__ == "__main__":
    entry_point.run_command(main)
