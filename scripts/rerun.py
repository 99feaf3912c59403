"""Repeat a finished run in a new folder; --help lists the options."""

from vaelab.cli.entry_point import run_command
from vaelab.cli.rerun import main

if __name__ == "__main__":
    run_command(main)
