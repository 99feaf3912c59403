"""Run one of the study notes; --help lists the options."""

from vaelab.cli.entry_point import run_command
from vaelab.cli.notes import main

if __name__ == "__main__":
    run_command(main)
