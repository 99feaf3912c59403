"""Repeat a finished run in a new folder: `python scripts/rerun.py runs/<run>`.

It is trained by its recorded config, with the threads it had and in the folder it was begun in; a
job of a multirun is a run. Then it says whether the numbers and the weights are the same to the
bit, or else which differ, by how much, and what was not alike: versions, code, threads, machine,
data. The exit status is 0 if they are the same and 2 if not.
"""

import argparse
import sys
from pathlib import Path

from vaelab.cli import entry_point

TRAIN = Path(__file__).parent.parent / "train.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--out", type=Path, help="the new folder; by default runs/<now>")
    asked = parser.parse_args()

    from vaelab.reproduction.rerun import find_differences, format_comparison, repeat_run

    again = repeat_run(asked.run, asked.out, TRAIN)
    print(format_comparison(asked.run, again))
    print(again)
    if find_differences(asked.run, again):
        sys.exit(2)


if __name__ == "__main__":
    entry_point.run_command(main)
