"""How fast vaelab is beside a loop written by hand and beside others.

`python scripts/benchmark.py mlp conv nll startup faces scale` (or some of them) runs every way in
a process of its own, the ways alternating, and prints a table of medians. The ratio to the first
way is the median over the rounds of the ratio within a round, because machines change their speed
while they run. The first epoch of a process compiles and warms up, and does not count.

MNIST is read from VAELAB_DATA; pythae comes with the extra `peers`.
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

HERE = Path(__file__).parent
TRAIN = [str(HERE.parent / "train.py"), "samples=1", "+callbacks.clock._target_=report.Clock"]
CONV = ["model=conv", "model.channels=[32,64,128]", "trainer.limit_train_batches=100"]
SIZES = (1_000, 10_000, 60_000, 200_000)


def way(name: str, *words: str) -> list[str]:
    return [str(HERE / "ways" / f"{name}.py"), *words]


def sections(folder: Path, epochs: int) -> dict[str, dict[str, list[str]]]:
    """The commands of every way; the first of a section is what the others are compared with."""
    n = f"--epochs={epochs}"
    some = [*TRAIN, f"trainer.max_epochs={epochs}", "data=mnist"]
    train = [*some, "data.validation=0"]
    short = [n, "--batches=100"]
    part = [*some, "trainer.limit_val_batches=1"]
    mapped = {n: way("faces", "mapped", str(folder), f"--pictures={n}") for n in SIZES}
    return {
        "mlp": {
            "hand-written, compiled": way("hand", "mlp", "--compile", n),
            "hand-written": way("hand", "mlp", n),
            "vaelab": train,
            "vaelab compile=true": [*train, "compile=true"],
            "stock Lightning, in memory": way("lightning", "mlp", n),
            "pythae": way("peer", "mlp", n),
            "pytorch/examples": way("examples", str(epochs)),
            "stock Lightning, torchvision": way("lightning", "mlp", "--torchvision", n),
        },
        "bf16": {
            "mlp, fp32": train,
            "mlp, bf16": [*train, "trainer.precision=bf16-mixed"],
            "conv, fp32": [*train, *CONV],
            "conv, bf16": [*train, *CONV, "trainer.precision=bf16-mixed"],
        },
        "conv": {
            "hand-written, compiled": way("hand", "conv", "--compile", *short),
            "hand-written": way("hand", "conv", *short),
            "vaelab": [*train, *CONV],
            "vaelab channels_last=false": [*train, *CONV, "channels_last=false"],
            "pythae": way("peer", "conv", *short),
        },
        "nll": {
            "hand-written, compiled": way("nll", "hand"),
            "vaelab": way("nll", "vaelab"),
            "vaelab, 500 samples": way("nll", "vaelab", "--samples=500"),
            "pythae": way("peer", "nll"),
        },
        "startup": {
            "import torch, pytorch_lightning": ["-c", "import torch, pytorch_lightning"],
            "train.py --help": [TRAIN[0], "--help"],
            "loading the data": way("load"),
            "train.py to its first step": [*TRAIN, "trainer.max_steps=1"],
        },
        "faces": {
            "vaelab from the cache": way("faces", "cache", str(folder)),
            "torchvision, 2 workers": way("faces", "torchvision", str(folder)),
            "vaelab building the cache": way("faces", "build", str(folder)),
            "two processes decoding": way("faces", "decode", str(folder)),
        },
        "scale": {f"{n} of MNIST": [*part, f"data.validation={60_000 - n}"] for n in SIZES[:3]}
        | {f"{n} from a cache": command for n, command in mapped.items()},
    }


def measured(command: list[str], folder: Path) -> dict:
    """What one process reports, and its seconds from start to end."""
    path = folder / "report.json"
    path.unlink(missing_ok=True)
    before = [os.environ.get("PYTHONPATH"), str(HERE / "ways")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, before)),
        "BENCHMARK_REPORT": str(path),
        "BENCHMARK_START": repr(time.time()),
        "WANDB_MODE": "offline",
    }
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    whole = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"error: {' '.join(command)}\n{done.stderr[-1500:]}")
    return {"whole": whole} | (json.loads(path.read_text()) if path.exists() else {})


def seconds(section: str, reports: list[dict]) -> list[float]:
    """The seconds to be compared: of epochs, of an image, or of a whole process."""
    if section == "startup":
        return [
            each.get("first_step") or each.get("seconds", [each["whole"]])[0] for each in reports
        ]
    return [epoch for each in reports for epoch in each["seconds"][1:] or each["seconds"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = list(sections(Path(), 1))
    parser.add_argument("sections", nargs="*", default=names, help=f"some of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each way")
    parser.add_argument("--epochs", type=int, default=4, help="of each process, the first unused")
    parser.add_argument("--ways", default="", help="only ways whose name holds this")
    parser.add_argument("--out", type=Path, help="a json of all that was measured")
    asked = parser.parse_args()
    if unknown := set(asked.sections) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    found: dict = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for section in asked.sections:
            ways = sections(folder, asked.epochs)[section]
            ways = {way: words for way, words in ways.items() if asked.ways in way}
            if section == "faces":
                measured(way("faces", "make", name), folder)
                measured(ways["vaelab building the cache"], folder)
            reports: dict[str, list[dict]] = {way: [] for way in ways}
            for _ in range(asked.rounds):
                for each, command in ways.items():
                    if "building" in each:
                        for file in (folder / "cache").glob("*.u8"):
                            file.unlink()
                    reports[each].append(measured(command, folder))
            found[section] = reports
            show(section, reports)
            if asked.out:
                asked.out.write_text(json.dumps(found, indent=1) + "\n")


def show(section: str, reports: dict[str, list[dict]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(section, "median s", "min", "max", "ratio", "peak MB")
    rounds = {
        each: [statistics.median(seconds(section, [report])) for report in found]
        for each, found in reports.items()
    }
    first = next(iter(rounds.values()))
    for each, found in reports.items():
        times = seconds(section, found)
        ratio = statistics.median(a / b for a, b in zip(rounds[each], first, strict=True))
        peak = max(report.get("peak_mb", 0) for report in found)
        numbers = (statistics.median(times), min(times), max(times), ratio)
        table.add_row(each, *(f"{number:.4g}" for number in numbers), f"{peak:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
