"""A finished run for other programs: `python scripts/export.py runs/<run>`.

Writes <run>/export/: encoder.onnx, decoder.onnx, model.safetensors and a README.md that says what
they are and how they are used. It needs the extra `export`, but for --weights: that writes
model.safetensors alone.
"""

import argparse
from pathlib import Path

from vaelab.cli import entry_point
from vaelab.runtime import errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder, or a model.safetensors")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--out", type=Path, help="the folder to write to")
    parser.add_argument("--weights", action="store_true", help="only model.safetensors")
    asked = parser.parse_args()
    if not asked.weights:
        errors.check_extra_installed("export", "onnx", "onnxscript", "onnxruntime")

    from vaelab.runs import untrusted, weights
    from vaelab.runs.run import Run

    run = Run.open(asked.run, asked.checkpoint, ready=False)
    here = weights.results_folder(asked.run)
    out = asked.out or here / "export"
    if asked.weights:
        run.save(out / weights.FILE_NAME)
        print(out / weights.FILE_NAME)
        return

    from vaelab.inference.export import export_model

    numbers = untrusted.read_numbers(here / "metrics.json") if asked.checkpoint == "best" else {}
    paths = export_model(run, out, numbers)
    if not any(path.name == "encoder.onnx" for path in paths):
        print("no encoder.onnx: q(z|x) of this run has neither a mean nor a mode")
    print(*paths)


if __name__ == "__main__":
    entry_point.run_command(main)
