"""Write report.html again: `vaelab report runs/<run>`, or a multirun and its jobs."""

import argparse

from vaelab.runtime.files import expand_home
from vaelab.runtime.language import add_language_option


def main() -> None:
    """Write the reports of the folders of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=expand_home, nargs="+", help="of a run, or of a multirun")
    add_language_option(parser)
    arguments = parser.parse_args()

    from vaelab.report.write import write_report
    from vaelab.runs.jobs import find_jobs

    for folder in arguments.folder:
        for job in find_jobs(folder) if folder.is_dir() else ():
            if job != folder:
                write_report(job, arguments.language)
        print(write_report(folder, arguments.language))
