"""Export a finished run for other programs: `vaelab export runs/<run>`.

Writes <run>/export/ with encoder.onnx, decoder.onnx, model.safetensors and a README.md that says
how to use them. This needs the extra `export`, except with --weights, which writes
model.safetensors alone, and with --format diffusers, which writes <run>/diffusers/, a folder that
AutoencoderKL of the package diffusers opens, for a run of model=autoencoder.
"""

import argparse

from vaelab.runtime.errors import check_extra_installed
from vaelab.runtime.files import expand_home


def main() -> None:
    """Export the run of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=expand_home, help="the run folder, or a model.safetensors")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--out", type=expand_home, help="the folder to write to")
    parser.add_argument("--weights", action="store_true", help="only model.safetensors")
    parser.add_argument("--format", choices=("onnx", "diffusers"), default="onnx")
    arguments = parser.parse_args()
    to_diffusers = arguments.format == "diffusers"
    if to_diffusers and arguments.weights:
        parser.error("--weights writes vaelab's own format: leave --format out")
    if not (arguments.weights or to_diffusers):
        check_extra_installed("export", "onnx", "onnxscript", "onnxruntime")

    from vaelab.runs import weights
    from vaelab.runs.metrics_file import read_run_metrics
    from vaelab.runs.run import RunParts

    run = RunParts.open(arguments.run, arguments.checkpoint, with_data=to_diffusers)
    folder = weights.results_folder(arguments.run)
    output = arguments.out or folder / ("diffusers" if to_diffusers else "export")
    if arguments.weights:
        run.save(output / weights.FILE_NAME)
        print(output / weights.FILE_NAME)
        return

    if to_diffusers:
        from vaelab.inference.diffusers_folder import export_to_diffusers

        print(*export_to_diffusers(run, output))
        return

    from vaelab.inference.export import export_model

    is_best = arguments.checkpoint == "best"  # the checkpoint that metrics.json describes
    paths = export_model(run, output, read_run_metrics(folder / "metrics.json") if is_best else {})
    if not any(path.name == "encoder.onnx" for path in paths):
        print("no encoder.onnx: q(z|x) of this run has neither a mean nor a mode")
    print(*paths)
