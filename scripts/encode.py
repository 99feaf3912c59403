"""Encode a data set; --help lists the options."""

from vaelab.cli.encode import main
from vaelab.cli.entry_point import run_command

if __name__ == "__main__":
    run_command(main)
