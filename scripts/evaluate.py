"""Evaluate a finished run: `python scripts/evaluate.py runs/<run>`.

Its numbers go to <run>/evaluation-<split>-<checkpoint>-<samples>.json; metrics.json stays.
"""

import argparse
from pathlib import Path

from vaelab import command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder, or a model.safetensors")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test")
    parser.add_argument("--samples", type=int, help="of the importance-weighted bound")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    asked = parser.parse_args()

    import torch

    from vaelab import record, weights
    from vaelab.run import Run

    run = Run.open(asked.run, asked.checkpoint)
    run.module.to("cuda" if torch.cuda.is_available() else "cpu")
    samples = run.cfg.samples if asked.samples is None else asked.samples
    numbers = record.evaluated(run, asked.split, samples) | record.provenance(asked.run)
    numbers |= {"checkpoint": asked.checkpoint, "samples": samples, "seed": run.cfg.seed}
    path = weights.folder(asked.run) / f"evaluation-{asked.split}-{asked.checkpoint}-{samples}.json"
    record.write(numbers, path)
    record.show(numbers)
    print(path)


if __name__ == "__main__":
    command.run(main)
