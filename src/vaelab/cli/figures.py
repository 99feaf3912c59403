"""Draw the figures of a finished run: `vaelab figures runs/<run>`.

Writes them to <run>/figures: reconstructions, samples, traversals, walks, map, aggregate (q(z)
beside p(z)), layers (of model=deep and ladders), kl_per_dimension and curves. Figures that do not
apply to the run are left out, and a line says why.
"""

import argparse

from vaelab.runtime.files import expand_home


def main() -> None:
    """Draw the figures that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=expand_home, help="the run folder")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the figures")
    parser.add_argument("--format", choices=("png", "svg", "pdf"), default="png")
    parser.add_argument("--map", choices=("pca", "umap"), default="pca")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    arguments = parser.parse_args()

    import torch

    from vaelab.figures.run_figures import check_figure_names, draw_all_figures
    from vaelab.report.write import write_report_or_warn
    from vaelab.runs.run import RunParts

    check_figure_names(arguments.only or (), arguments.format)
    run = RunParts.open(arguments.run, arguments.checkpoint)
    run.module.to("cuda" if torch.cuda.is_available() else "cpu")
    paths = draw_all_figures(run, arguments.run, arguments.only, arguments.format, arguments.map)
    print(*paths.values(), sep="\n")
    write_report_or_warn(arguments.run)
