"""Make report.html again: `python scripts/report.py runs/<run>`, or a multirun and all its jobs."""

import argparse
from pathlib import Path

from vaelab.cli import entry_point


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="+", help="of a run, or of a multirun")
    asked = parser.parse_args()

    from vaelab.report.folder import is_run, jobs_of
    from vaelab.report.write import write_report

    for folder in asked.folder:
        for job in () if is_run(folder) else jobs_of(folder):
            write_report(job)
        print(write_report(folder))


if __name__ == "__main__":
    entry_point.run_command(main)
