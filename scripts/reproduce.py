"""Reproduce the record of docs/results.md; --help lists the options."""

from vaelab.cli.entry_point import run_command
from vaelab.cli.reproduce import main

if __name__ == "__main__":
    run_command(main)
