"""Fill in missing values: `vaelab impute runs/<run> --input x.npz --output filled.npz`.

The input is a file of any format that data=arrays reads, with the columns of the run. Missing
values are NaN, and empty cells of a table. Without --input, a split of the run's own data is
filled.
Each missing value becomes its expected value given the observed ones, or with --samples K there are
K samples of the missing values, which an npz file keeps as x (N, K, ...). Images also give a
picture. Where the truth is known, which is so for data.missing_fraction and --missing-fraction, the
NLL of the missing values is printed beside that of a baseline.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaelab.runtime.errors import MissingFileError, UserError
from vaelab.runtime.files import expand_home
from vaelab.runtime.metric_names import name_data

if TYPE_CHECKING:
    import numpy as np

    from vaelab.data.base import DataModule
    from vaelab.runs.run import RunParts

SHOWN_IMAGES = 10
SHOWN_SAMPLES = 3


def main() -> None:
    """Impute a file, or a split of the data of a run, as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=expand_home, help="the run folder, or a model.safetensors")
    parser.add_argument("--input", type=expand_home, help="a file with x, read as that of the run")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test")
    parser.add_argument(
        "--missing-fraction",
        type=float,
        help="delete values of the run's data with this probability, instead of that of the run",
    )
    parser.add_argument("--samples", type=int, default=0, help="samples of each missing value")
    parser.add_argument(
        "--proposals", type=int, default=100, help="importance samples of each row or image"
    )
    parser.add_argument("--images", type=int, help="the size of a random subset of the split")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--output", type=expand_home, help="the npz or csv file to write")
    arguments = parser.parse_args()
    if arguments.samples < 0 or arguments.proposals < 1:
        raise UserError("--samples must be at least 0, and --proposals at least 1")
    if arguments.input and arguments.missing_fraction is not None:
        raise UserError("--missing-fraction deletes values of the run's data: leave out --input")

    import torch

    from vaelab.inference.calibration import compute_mean_error_statistic
    from vaelab.inference.imputation import impute_split
    from vaelab.runs import weights
    from vaelab.runs.run import RunParts

    run = RunParts.open(arguments.run, arguments.checkpoint, with_data=False)
    run.module.to("cuda" if torch.cuda.is_available() else "cpu")
    if run.vae.likelihood.needs_calibration:
        run.load_data()
        statistic = compute_mean_error_statistic(run.vae, run.data, run.cfg.seed)
        run.vae.likelihood.calibrate(statistic)
    header: list[str] = []
    split = arguments.split
    if arguments.input:
        x, header = _read_rows(run, arguments.input)
        data, split = _make_rows(run, x, arguments.input), "test"
    else:
        data = _load_own_data(run, arguments.missing_fraction)
    result = impute_split(
        run.vae,
        data,
        split,
        arguments.proposals,
        arguments.samples,
        run.cfg.seed,
        arguments.images,
    )
    folder = weights.results_folder(arguments.run)
    output = arguments.output or folder / f"imputed{'.csv' if header else '.npz'}"
    filled = run.vae.to_data_units(result.samples if arguments.samples else result.x)
    _write_rows(output, filled.numpy() * (getattr(data, "scale", None) or 1), header)
    written = [output]
    if len(data.shape) == 3 and data.shape[0] in (1, 3):
        written.append(output.with_suffix(".png"))
        _draw_images(data, split, result, arguments.images).save(written[-1])
    for line in _describe_numbers(result.numbers, data.shape):
        print(line)
    print(*written)


def _load_own_data(run: "RunParts", fraction: float | None) -> "DataModule":
    """Read the data of a run, with another fraction of deleted values if it is given."""
    from vaelab.runs.run import RunParts

    if fraction is not None:
        if "missing_fraction" not in run.cfg.data:
            raise UserError(
                f"--missing-fraction {fraction}: the data of this run have no option "
                "data.missing_fraction: use --input with NaN"
            )
        run.cfg.data.missing_fraction = fraction
    data = RunParts.build_data(run.cfg)
    data.standardization = run.vae.standardization
    data.prepare_data()
    data.setup()
    if not data.has_missing:
        raise UserError(
            "the data of this run have no missing values: name a file with --input, or delete "
            "values with --missing-fraction 0.5"
        )
    return data


def _make_rows(run: "RunParts", x: "np.ndarray", path: Path) -> "DataModule":
    """Return rows of a file as the test split of a data set like that of the run."""
    from vaelab.data.arrays import make_similar_data

    arrays = {"x_train": x, "x_val": x[:0], "x_test": x}
    data = make_similar_data(run.data, arrays, str(path), "mask")
    run.vae.likelihood.check_pixels(*data.range, data.pixels, data.column_kinds)
    return data


def _read_rows(run: "RunParts", path: Path) -> tuple["np.ndarray", list[str]]:
    """Read x (N, ...) of a file like that of the run, and the names of its columns."""
    import numpy as np

    from vaelab.data.array_files import Selection, open_array_file
    from vaelab.data.arrays import Arrays

    if not path.is_file():
        raise MissingFileError(f"--input {path}: there is no such file")
    selection = run.data.selection if isinstance(run.data, Arrays) else Selection()
    content = open_array_file(str(path), selection)
    if "x" not in content.arrays:
        raise UserError(f"--input {path} has several splits: write a file with one array x")
    return np.asarray(content.arrays["x"][:]), list(content.columns)


def _write_rows(path: Path, x: "np.ndarray", header: list[str]) -> None:
    """Write x as an npz file, or as a csv file if the name of the file says so."""
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".csv":
        np.savez(path, x=x)
        return
    if x.ndim != 2:
        raise UserError(f"--output {path}: a csv file has one value in a cell: name an npz file")
    names = header or [f"x{number}" for number in range(x.shape[1])]
    np.savetxt(path, x, delimiter=",", header=",".join(names), comments="", fmt="%.7g")


def _draw_images(data: "DataModule", split: str, result: Any, images: int | None) -> Any:
    """Draw rows of images: with gaps, expected values, samples, and the truth if it is known."""
    import torch

    from vaelab.inference.image_grid import make_image_grid

    batches = data.batches(split, images)
    count = min(SHOWN_IMAGES, len(result.x))
    rows = [data.prepare(batches.split.images[:count]), result.x[:count]]
    rows += [*result.samples[:count, :SHOWN_SAMPLES].transpose(0, 1)]
    if split in data.truth:
        rows.append(data.prepare(data.truth[split][batches.index[:count]]))
    return make_image_grid(torch.cat(rows), count)


def _describe_numbers(numbers: dict[str, Any], shape: Sequence[int]) -> list[str]:
    """Return the lines that the command prints."""
    rows = name_data("images", shape)
    lines = [
        f"{numbers['missing']:,} missing values in {numbers['images']:,} {rows} of "
        f"{numbers['split']}"
        f"; effective importance samples (median): {numbers['effective_samples']:.1f} of "
        f"{numbers['proposals']}"
    ]
    for key, name, unit in (
        ("missing_nll", "NLL of the missing values given the rest", "nats per value"),
        ("missing_rmse", "RMSE of the missing values", "of a value"),
    ):
        if key in numbers:
            lines.append(
                f"{name}: {numbers[key]:.4f} {unit}; without the rest (baseline): "
                f"{numbers[f'{key}_baseline']:.4f}"
            )
    return lines
