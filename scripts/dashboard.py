"""Create a W&B workspace; --help lists the options."""

from vaelab.cli.dashboard import main
from vaelab.cli.entry_point import run_command

if __name__ == "__main__":
    run_command(main)
