"""`python -m vaelab` is the command `vaelab`."""

from vaelab.cli.commands import main

if __name__ == "__main__":
    main()
