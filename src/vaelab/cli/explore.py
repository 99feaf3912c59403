"""Explore finished runs in a browser: `vaelab explore runs/<run> [runs/<run> ...]`.

Move the latents of a run with sliders, point into the map of its latents, draw a digit or upload an
image, walk between two test images; with two runs or more, compare two of them on one image.
`--data mnist5k` takes the images from the embedded digits if the run's data set is not available;
`--language zh` shows the page in Chinese.
"""

import argparse
import socket
import sys

from vaelab.cli.menu import list_options
from vaelab.runtime.errors import UserError
from vaelab.runtime.files import expand_home
from vaelab.runtime.language import add_language_option

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main() -> None:
    """Serve the explorer for the runs of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=expand_home, nargs="+", metavar="run", help="a run folder")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument(
        "--data", choices=list_options("data"), help="instead of the data set of the run"
    )
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--host", default="127.0.0.1", help="by default this machine only")
    add_language_option(parser)
    arguments = parser.parse_args()
    if arguments.host not in LOOPBACK:
        print(
            f"warning: with --host {arguments.host}, every machine that can reach this one can use "
            "the page, which asks for no password",
            file=sys.stderr,
        )

    check_port_is_free(arguments.host, arguments.port)

    import torch

    from vaelab.explorer.explorer import Explorer
    from vaelab.explorer.page import serve_page
    from vaelab.runs.compose import compose_config

    data = compose_config("train", [f"data={arguments.data}"]).data if arguments.data else None
    explorers = [Explorer.open(run, arguments.checkpoint, data) for run in arguments.runs]
    names = [explorer.name for explorer in explorers]
    for number, explorer in enumerate(explorers, 1):
        if names.count(explorer.name) > 1:
            explorer.name += f" ({number})"
    torch.set_num_threads(1)  # faster for one image at a time, above all on busy cores
    print(f"http://{arguments.host}:{arguments.port}", flush=True)
    serve_page(explorers, arguments.host, arguments.port, arguments.language)


def check_port_is_free(host: str, port: int) -> None:
    """Raise UserError if the address cannot be used, as when another program uses it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"port {port} of {host} cannot be used ({error}): choose another with --port"
        ) from error
