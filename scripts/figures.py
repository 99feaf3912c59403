"""All figures of a finished run: `python scripts/figures.py runs/<run>`.

They go to <run>/figures: reconstructions, samples, traversals, walks, map, aggregate (q(z) against
p(z)), kl_per_dimension and curves. What has no meaning for a run is left out, and a line says why.
"""

import argparse
from pathlib import Path

from vaelab.cli import entry_point


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the figures")
    parser.add_argument("--format", choices=("png", "svg", "pdf"), default="png")
    parser.add_argument("--map", choices=("pca", "umap"), default="pca")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    asked = parser.parse_args()

    import torch

    from vaelab.figures.run_figures import check_figure_names, draw_all_figures
    from vaelab.report.write import write_report_or_warn
    from vaelab.runs.run import Run

    check_figure_names(asked.only or (), asked.format)
    run = Run.open(asked.run, asked.checkpoint)
    run.module.to("cuda" if torch.cuda.is_available() else "cpu")
    paths = draw_all_figures(run, asked.run, asked.only, asked.format, asked.map)
    print(*paths.values(), sep="\n")
    write_report_or_warn(asked.run)


if __name__ == "__main__":
    entry_point.run_command(main)
