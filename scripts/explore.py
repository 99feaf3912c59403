"""Explore finished runs in a browser: `python scripts/explore.py runs/<run> [runs/<run> ...]`.

Turn the latents of a run, point into the map of its codes, draw a digit or upload a picture, walk
between two test images; with two runs or more, show one picture to two of them. `--data mnist5k`
takes its pictures from the embedded digits, where the data set of the run is not at hand.
"""

import argparse
import socket
import sys
from pathlib import Path
from typing import Any

from vaelab.cli import entry_point

CONF = Path(__file__).parent.parent / "conf"
DATA = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="run", help="a run folder")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--data", choices=DATA, help="instead of the data set of the run")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--host", default="127.0.0.1", help="loopback unless you say otherwise")
    asked = parser.parse_args()
    if asked.host not in LOOPBACK:
        print(
            f"warning: --host {asked.host} lets every machine that can reach this one use the page,"
            " which asks for no password",
            file=sys.stderr,
        )

    check_free(asked.host, asked.port)

    import torch

    from vaelab.explorer.explorer import Explorer
    from vaelab.explorer.page import serve

    data = _data(asked.data) if asked.data else None
    explorers = [Explorer.open(run, asked.checkpoint, data) for run in asked.runs]
    names = [each.name for each in explorers]
    for number, explorer in enumerate(explorers, 1):
        if names.count(explorer.name) > 1:
            explorer.name += f" ({number})"
    torch.set_num_threads(1)  # one image at a time is faster without others, much so on busy cores
    print(f"http://{asked.host}:{asked.port}", flush=True)
    serve(explorers, asked.host, asked.port)


def _data(name: str) -> Any:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        return compose("train", [f"data={name}"]).data


def check_free(host: str, port: int) -> None:
    """Refuse a place that another program listens at."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"port {port} of {host} cannot be used ({error}): choose another with --port"
        ) from error


if __name__ == "__main__":
    entry_point.run_command(main)
