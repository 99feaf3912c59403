"""The command `vaelab impute` in a clone of the repository."""

from vaelab.cli.commands import start

if __name__ == "__main__":
    start("impute")
