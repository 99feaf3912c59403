"""Evaluate finished runs: `vaelab evaluate runs/<run> [...] [--samples 5000]`.

Every part of the evaluation that applies to a run computes its numbers. They are written to
<run>/evaluation/<split>-<checkpoint>-<samples>/ as numbers.json and numbers.md, and logged to the
loggers of the run. With --record, a record of the test images is written too. Finished parts are
not computed again, and an interrupted evaluation resumes. The folder of a multirun stands for its
finished jobs; several runs end with a rate-distortion figure. To use several processes, run
`torchrun --nproc-per-node 2 -m vaelab evaluate ...`.
"""

import argparse
from pathlib import Path
from typing import Any

from vaelab.cli.menu import list_options
from vaelab.runs.paths import FAILURE, MULTIRUN_RECORD
from vaelab.runtime.errors import UserError
from vaelab.runtime.files import expand_home

PRECISIONS = ("32-true", "bf16-mixed", "auto")


def main() -> None:
    """Evaluate the runs of the command line."""
    arguments = _make_parser().parse_args()

    from vaelab.cli.evaluate_folder import evaluate_folder
    from vaelab.evaluation.parts import DEFAULT_PARTS, PARTS
    from vaelab.reproduction.records import write_record_table
    from vaelab.runs.recorded import read_recorded_run
    from vaelab.runtime.distributed import rank_and_world_size, torchrun_process_group
    from vaelab.sweeps.rate_distortion import write_rate_distortion

    parts = arguments.parts.split(",") if arguments.parts else DEFAULT_PARTS
    if unknown := set(parts) - set(PARTS):
        raise UserError(f"--parts {','.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    if arguments.images is not None and arguments.images < 1:
        raise UserError(f"--images {arguments.images}: it must be at least 1")
    folders = [job for folder in arguments.runs for job in _list_finished_jobs(folder)]
    for folder in folders:
        read_recorded_run(folder)  # raises for a folder that is no run, before any is evaluated
    with torchrun_process_group():
        evaluated = {
            folder: evaluate_folder(
                folder,
                parts,
                split=arguments.split,
                samples=arguments.samples,
                images=arguments.images,
                checkpoint=arguments.checkpoint,
                sampler=_build_sampler(arguments.sampler),
                features=arguments.features,
                record_folder=arguments.record,
                precision=arguments.precision,
                compile=arguments.compile,
            )
            for folder in folders
        }
        if rank_and_world_size()[0] == 0:
            if arguments.record:
                write_record_table(arguments.record)
            if len(folders) > 1:
                output = _common_multirun(folders) or folders[0] / "evaluation"
                print(*write_rate_distortion(evaluated, output))


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs", nargs="+", type=expand_home, help="run folders, or that of a multirun"
    )
    parser.add_argument("--parts", help="parts of the evaluation, as in likelihood,samples")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test")
    parser.add_argument("--samples", type=int, help="importance samples of the bound on log p(x)")
    parser.add_argument(
        "--images", type=int, help="evaluate a random subset of N images, always the same"
    )
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument(
        "--sampler", choices=list_options("sampler"), default="prior", help="of new images"
    )
    parser.add_argument("--features", help="the network whose features compare images")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of encoder and decoder; auto is bf16-mixed where the machine supports it",
    )
    parser.add_argument("--compile", action="store_true", help="compile the decoder")
    parser.add_argument(
        *("--record", "--results"),  # the second in commands of older records
        nargs="?",
        type=expand_home,
        const=Path("results"),
        metavar="FOLDER",
        help="write a record of the test images, by default to results/",
    )
    return parser


def _list_finished_jobs(folder: Path) -> list[Path]:
    """Return the finished jobs of a multirun, or the folder itself if it is a run."""
    if not (folder / MULTIRUN_RECORD).is_file():
        return [folder]
    from vaelab.runs.jobs import find_jobs

    jobs = [job for job in find_jobs(folder) if (job / "checkpoints").is_dir()]
    finished = [job for job in jobs if _is_finished(job)]
    if unfinished := [job.name for job in jobs if job not in finished]:
        print(f"{folder}: skipped unfinished jobs: {', '.join(unfinished)}")
    return finished


def _is_finished(job: Path) -> bool:
    return (job / "metrics.json").is_file() and not (job / FAILURE).is_file()


def _common_multirun(folders: list[Path]) -> Path | None:
    """Return the folder of the multirun that all runs are jobs of, if there is one."""
    from vaelab.runs.jobs import find_multirun

    multiruns = {find_multirun(folder.resolve()) for folder in folders}
    return multiruns.pop() if len(multiruns) == 1 else None


def _build_sampler(name: str) -> Any:
    from vaelab.runs.compose import compose_config
    from vaelab.runtime.build import build_from_config

    return build_from_config(compose_config("sample", [f"sampler={name}"]).sampler)
