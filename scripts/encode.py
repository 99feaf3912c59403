"""The codes of a data set: `python scripts/encode.py runs/<run> --split all`.

They go to <run>/codes-<split>.parquet: for each image its index, label, code, elbo, reconstruction
and kl. Read it with pandas.read_parquet; it needs the extra `export`.
"""

import argparse
from pathlib import Path

from vaelab.cli import entry_point
from vaelab.runtime import errors

SPLITS = ("train", "val", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder, or a model.safetensors")
    parser.add_argument("--split", choices=(*SPLITS, "all"), default="test")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--out", type=Path, help="the file to write")
    asked = parser.parse_args()
    errors.check_extra_installed("export", "pyarrow")

    import torch

    from vaelab.inference.encoding import save_latents
    from vaelab.runs import weights
    from vaelab.runs.run import Run

    run = Run.open(asked.run, asked.checkpoint)
    run.module.to("cuda" if torch.cuda.is_available() else "cpu")
    there = [name for name in SPLITS if len(run.data.splits[name].images)]
    splits = there if asked.split == "all" else [asked.split]
    settings = {"run": asked.run.resolve().name, "checkpoint": asked.checkpoint, "step": run.step}
    settings |= {"measure": run.vae.likelihood.measure(run.data.pixels), "seed": run.cfg.seed}
    path = asked.out or weights.results_folder(asked.run) / f"codes-{asked.split}.parquet"
    save_latents(run, splits, path, settings)
    print(path)


if __name__ == "__main__":
    entry_point.run_command(main)
