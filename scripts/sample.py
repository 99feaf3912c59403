"""Sample images from a finished run; --help lists the options."""

from vaelab.cli.entry_point import run_command
from vaelab.cli.sample import main

if __name__ == "__main__":
    run_command(main, "sample")
