"""Compare the speed of vaelab with hand-written loops and with other libraries.

`python scripts/benchmark.py mlp conv nll startup faces scale large` (or some of these) runs each
implementation in a separate process, alternating between them, and prints a table of medians. The
ratio to the first implementation is the median over rounds of the ratio within a round, because
the speed of a machine drifts. The first epoch of a process compiles and warms up, so it is not
counted.

The section `large` writes 5 GB and reports anonymous memory to the file of --out. MNIST is read
from VAELAB_DATA; pythae is installed with the extra `peers`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).parent
TRAIN = [str(SCRIPTS.parent / "train.py"), "samples=1", "+callbacks.clock._target_=report.Clock"]
CONV = ["model=conv", "model.channels=[32,64,128]", "trainer.limit_train_batches=100"]
SIZES = (1_000, 10_000, 60_000, 200_000)


def way_command(name: str, *words: str) -> list[str]:
    """Return the arguments of Python that run scripts/ways/<name>.py."""
    return [str(SCRIPTS / "ways" / f"{name}.py"), *words]


def list_sections(folder: Path, epochs: int) -> dict[str, dict[str, list[str]]]:
    """Return the command of each implementation by section; the first one is the reference."""
    epochs_option = f"--epochs={epochs}"
    validated = [*TRAIN, f"trainer.max_epochs={epochs}", "data=mnist"]
    train = [*validated, "data.validation=0"]
    short = [epochs_option, "--batches=100"]
    mnist_subset = [*validated, "trainer.limit_val_batches=1"]
    cached_images = {
        n: way_command("faces", "mapped", str(folder), f"--pictures={n}") for n in SIZES
    }
    return {
        "mlp": {
            "hand-written, compiled": way_command("hand", "mlp", "--compile", epochs_option),
            "hand-written": way_command("hand", "mlp", epochs_option),
            "vaelab": train,
            "vaelab compile=true": [*train, "compile=true"],
            "stock Lightning, in memory": way_command("lightning", "mlp", epochs_option),
            "pythae": way_command("peer", "mlp", epochs_option),
            "pytorch/examples": way_command("examples", str(epochs)),
            "stock Lightning, torchvision": way_command(
                "lightning", "mlp", "--torchvision", epochs_option
            ),
        },
        "bf16": {
            "mlp, fp32": train,
            "mlp, bf16": [*train, "trainer.precision=bf16-mixed"],
            "conv, fp32": [*train, *CONV],
            "conv, bf16": [*train, *CONV, "trainer.precision=bf16-mixed"],
        },
        "conv": {
            "hand-written, compiled": way_command("hand", "conv", "--compile", *short),
            "hand-written": way_command("hand", "conv", *short),
            "vaelab": [*train, *CONV],
            "vaelab channels_last=false": [*train, *CONV, "channels_last=false"],
            "pythae": way_command("peer", "conv", *short),
        },
        "nll": {
            "hand-written, compiled": way_command("nll", "hand"),
            "vaelab": way_command("nll", "vaelab"),
            "vaelab, 500 samples": way_command("nll", "vaelab", "--samples=500"),
            "pythae": way_command("peer", "nll"),
        },
        "startup": {
            "import torch, pytorch_lightning": ["-c", "import torch, pytorch_lightning"],
            "train.py --help": [TRAIN[0], "--help"],
            "loading the data": way_command("load"),
            "train.py to its first step": [*TRAIN, "trainer.max_steps=1"],
        },
        "faces": {
            "vaelab from the cache": way_command("faces", "cache", str(folder)),
            "torchvision, 2 workers": way_command("faces", "torchvision", str(folder)),
            "vaelab building the cache": way_command("faces", "build", str(folder)),
            "two processes decoding": way_command("faces", "decode", str(folder)),
        },
        "scale": {
            f"{n} of MNIST": [*mnist_subset, f"data.validation={60_000 - n}"] for n in SIZES[:3]
        }
        | {f"{n} from a cache": command for n, command in cached_images.items()},
        "large": {
            f"{n}, {way}": way_command("large", way, str(folder), f"--pictures={n}")
            for way in ("mapped", "memory")
            for n in (20_000, 200_000)
        },
    }


def run_and_measure(command: list[str], folder: Path) -> dict:
    """Run one process; return what it reports and its seconds from start to end."""
    path = folder / "report.json"
    path.unlink(missing_ok=True)
    paths = [os.environ.get("PYTHONPATH"), str(SCRIPTS / "ways")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "BENCHMARK_REPORT": str(path),
        "BENCHMARK_START": repr(time.time()),
        "WANDB_MODE": "offline",
    }
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    whole = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"error: {' '.join(command)}\n{done.stderr[-1500:]}")
    return {"whole": whole} | (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    )


def compared_seconds(section: str, reports: list[dict]) -> list[float]:
    """Return the seconds to compare: of each epoch, of an image, or of a whole process."""
    if section == "startup":
        return [
            report.get("first_step") or report.get("seconds", [report["whole"]])[0]
            for report in reports
        ]
    return [epoch for report in reports for epoch in report["seconds"][1:] or report["seconds"]]


def main() -> None:
    args = _parse_arguments()
    results: dict = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for section in args.sections:
            commands = list_sections(folder, args.epochs)[section]
            commands = {way: words for way, words in commands.items() if args.ways in way}
            if section == "faces":
                run_and_measure(way_command("faces", "make", name), folder)
                run_and_measure(commands["vaelab building the cache"], folder)
            reports: dict[str, list[dict]] = {way: [] for way in commands}
            for _ in range(args.rounds):
                for way, command in commands.items():
                    if "building" in way:
                        for file in (folder / "cache").glob("*.u8"):
                            file.unlink()
                    reports[way].append(run_and_measure(command, folder))
            results[section] = reports
            print_table(section, reports)
            if args.out:
                args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = list(list_sections(Path(), 1))
    parser.add_argument("sections", nargs="*", default=names, help=f"any of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each implementation")
    parser.add_argument("--epochs", type=int, default=4, help="per process; the first is not used")
    parser.add_argument("--ways", default="", help="only implementations whose name contains this")
    parser.add_argument("--out", type=Path, help="write all measurements to this json file")
    args = parser.parse_args()
    if unknown := set(args.sections) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    return args


def print_table(section: str, all_reports: dict[str, list[dict]]) -> None:
    """Print the seconds of each implementation and their ratio to the first one."""
    from rich.console import Console
    from rich.table import Table

    table = Table(section, "median s", "min", "max", "ratio", "peak MB")
    medians = {
        way: [statistics.median(compared_seconds(section, [report])) for report in reports]
        for way, reports in all_reports.items()
    }
    reference = next(iter(medians.values()))
    for way, reports in all_reports.items():
        times = compared_seconds(section, reports)
        ratio = statistics.median(a / b for a, b in zip(medians[way], reference, strict=True))
        peak = max(report.get("peak_mb", 0) for report in reports)
        numbers = (statistics.median(times), min(times), max(times), ratio)
        table.add_row(way, *(f"{number:.4g}" for number in numbers), f"{peak:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
