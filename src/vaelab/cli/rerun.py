"""Repeat a finished run in a new folder: `vaelab rerun runs/<run>`.

Trains the recorded config with the recorded number of threads, from the folder in which the run was
started, and compares numbers and weights bit for bit. Where they differ, it prints by how much, and
what else differs: versions, code, threads, machine, data. The exit status is 0 if they are
identical and 2 if not.
"""

import argparse
import sys

from vaelab.runtime.files import expand_home


def main() -> None:
    """Repeat the run of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=expand_home, help="the run folder")
    parser.add_argument("--out", type=expand_home, help="the new folder; by default runs/<now>")
    arguments = parser.parse_args()

    from vaelab.reproduction.rerun import find_differences, format_comparison, repeat_run

    repeated = repeat_run(arguments.run, arguments.out)
    print(format_comparison(arguments.run, repeated))
    print(repeated)
    if find_differences(arguments.run, repeated):
        sys.exit(2)
