"""Evaluate a finished run: `python scripts/evaluate.py runs/<run>`."""

import argparse
import json
from pathlib import Path

from vaelab import command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test")
    parser.add_argument("--samples", type=int, help="of the importance-weighted bound")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    asked = parser.parse_args()

    from vaelab import record
    from vaelab.run import Run

    run = Run.open(asked.run, asked.checkpoint)
    samples = run.cfg.samples if asked.samples is None else asked.samples
    numbers = record.evaluated(run, asked.split, samples) | record.provenance(asked.run)
    name = "metrics.json" if asked.split == "test" else f"metrics-{asked.split}.json"
    path = asked.run / name
    known = json.loads(path.read_text()) if path.exists() else {}
    record.write(known | numbers, path)
    record.show(numbers)
    print(path)


if __name__ == "__main__":
    command.run(main)
