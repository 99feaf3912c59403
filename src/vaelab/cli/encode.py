"""Encode a data set: `vaelab encode runs/<run> --split all`.

Writes <run>/codes-<split>.parquet: for each image its index, label, latents, elbo, reconstruction
and kl. Read the file with pandas.read_parquet. This needs the extra `export`.
"""

import argparse

from vaelab.runtime.errors import check_extra_installed
from vaelab.runtime.files import expand_home

SPLITS = ("train", "val", "test")


def main() -> None:
    """Encode a split, or all of them, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=expand_home, help="the run folder, or a model.safetensors")
    parser.add_argument("--split", choices=(*SPLITS, "all"), default="test")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--out", type=expand_home, help="the file to write")
    arguments = parser.parse_args()
    check_extra_installed("export", "pyarrow")

    import torch

    from vaelab.inference.encoding import save_latents
    from vaelab.runs import weights
    from vaelab.runs.run import RunParts

    run = RunParts.open(arguments.run, arguments.checkpoint)
    run.module.to("cuda" if torch.cuda.is_available() else "cpu")
    available = [name for name in SPLITS if len(run.data.splits[name].images)]
    splits = available if arguments.split == "all" else [arguments.split]
    settings = {
        "run": arguments.run.resolve().name,
        "checkpoint": arguments.checkpoint,
        "step": run.step,
        "measure": run.vae.likelihood.measure(run.data.pixels),
        "seed": run.cfg.seed,
    }
    default = weights.results_folder(arguments.run) / f"codes-{arguments.split}.parquet"
    path = arguments.out or default
    save_latents(run, splits, path, settings)
    print(path)
