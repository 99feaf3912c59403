"""Evaluate finished runs: `python scripts/evaluate.py runs/<run> [...] [--samples 5000]`.

Each part that has a meaning for a run gives its numbers. They go to
<run>/evaluation/<split>-<checkpoint>-<samples>/ as numbers.json and numbers.md, to the loggers of
the run and, for the test images, in a record to results/. What is there is not computed again, and
what was stopped goes on. The folder of a multirun stands for its jobs; several runs end in a
rate-distortion figure. `torchrun --nproc-per-node 2 scripts/evaluate.py ...` shares the work out.
"""

import argparse
from pathlib import Path
from typing import Any

from vaelab.cli import entry_point

CONF = Path(__file__).parent.parent / "conf"
PRECISIONS = ("32-true", "bf16-mixed", "auto")
SAMPLERS = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))


def main() -> None:
    asked = _parser().parse_args()

    from vaelab.cli.evaluate import evaluate_folder
    from vaelab.evaluation.parts import DEFAULT_PARTS, PARTS
    from vaelab.reproduction.records import write_record_table
    from vaelab.runs.recorded import read_recorded_run
    from vaelab.runtime.distributed import rank_and_world_size, torchrun_process_group
    from vaelab.sweeps.rate_distortion import write_rate_distortion

    parts = asked.parts.split(",") if asked.parts else DEFAULT_PARTS
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"--parts {','.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    if asked.images is not None and asked.images < 1:
        raise ValueError(f"--images {asked.images}: it must be at least 1")
    folders = [job for folder in asked.runs for job in _jobs(folder)]
    for folder in folders:
        read_recorded_run(folder)  # refuses what is no run, before any is evaluated
    with torchrun_process_group():
        evaluated = {
            folder: evaluate_folder(
                folder,
                parts,
                split=asked.split,
                samples=asked.samples,
                images=asked.images,
                checkpoint=asked.checkpoint,
                sampler=_sampler(asked.sampler),
                features=asked.features,
                results_folder=asked.results,
                precision=asked.precision,
                compile=asked.compile,
            )
            for folder in folders
        }
        if rank_and_world_size()[0] == 0:
            write_record_table(asked.results)
            if len(folders) > 1:
                print(*write_rate_distortion(evaluated, _together(folders) or asked.results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, or that of a multirun")
    parser.add_argument("--parts", help="some of them, as in likelihood,samples")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test")
    parser.add_argument("--samples", type=int, help="of the importance-weighted bound")
    parser.add_argument("--images", type=int, help="the first so many of the split")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--sampler", choices=SAMPLERS, default="prior", help="of new images")
    parser.add_argument("--features", help="the net that images are compared by")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the nets; auto is bf16-mixed where the machine computes in it",
    )
    parser.add_argument("--compile", action="store_true", help="the decoder; for many samples")
    parser.add_argument("--results", type=Path, default=Path("results"), help="for the records")
    return parser


def _jobs(folder: Path) -> list[Path]:
    """The finished jobs of a multirun, or the run itself."""
    if not (folder / "multirun.yaml").is_file():
        return [folder]
    jobs = sorted(path.parent for path in folder.glob("*/checkpoints"))
    done = [job for job in jobs if _is_finished(job)]
    if left := [job.name for job in jobs if job not in done]:
        print(f"{folder}: passed over what is not finished: {', '.join(left)}")
    return done


def _is_finished(job: Path) -> bool:
    from vaelab.runs.paths import FAILURE

    return (job / "metrics.json").is_file() and not (job / FAILURE).is_file()


def _together(folders: list[Path]) -> Path | None:
    """The folder of the multirun that all of these are jobs of."""
    above = {folder.resolve().parent for folder in folders}
    sweep = above.pop() if len(above) == 1 else Path()
    return sweep if (sweep / "multirun.yaml").is_file() else None


def _sampler(name: str) -> Any:
    from hydra import compose, initialize_config_dir

    from vaelab.runs.build import build_from_config

    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        cfg = compose("sample", [f"sampler={name}"])
    return build_from_config(cfg.sampler)


if __name__ == "__main__":
    entry_point.run_command(main)
