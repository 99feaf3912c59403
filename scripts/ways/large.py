"""Train a few steps on a large npy file, mapped or in memory, and report anonymous memory."""

import argparse
import threading
import time
from pathlib import Path

import numpy as np
from report import report

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("way", choices=("mapped", "memory"))
parser.add_argument("folder", type=Path)
parser.add_argument("--pictures", type=int, default=20_000)
args = parser.parse_args()


def make_images(path: Path) -> None:
    """Write random uint8 images (N, 3, 64, 64) and their labels."""
    shape = (args.pictures, 3, 64, 64)
    images = np.lib.format.open_memmap(path / "x.npy", "w+", np.uint8, shape)
    generator = np.random.default_rng(0)
    for start in range(0, len(images), 1000):
        part = images[start : start + 1000]
        part[...] = generator.integers(0, 256, part.shape, np.uint8)
    np.save(path / "y.npy", np.arange(len(images)) % 10)


def read_anonymous_mb() -> float:
    """Return the anonymous memory of this process in MB: memory that is not backed by a file."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def watch(peak: list[float]) -> None:
    """Keep the largest anonymous memory of this process in peak[0]."""
    while True:
        peak[0] = max(peak[0], read_anonymous_mb())
        time.sleep(0.02)


def main() -> None:
    path = args.folder / f"large-{args.pictures}"
    if not path.exists():
        path.mkdir()
        make_images(path)
    import vaelab
    from vaelab.data.base import TrainingBatches

    steps: list[float] = []
    iterate = TrainingBatches.__iter__

    def measure_steps(batches):
        for batch in iterate(batches):
            steps.append(read_anonymous_mb())
            yield batch

    TrainingBatches.__iter__ = measure_steps
    peak = [0.0]
    threading.Thread(target=watch, args=(peak,), daemon=True).start()
    started = time.perf_counter()
    vaelab.run_training(
        *("data=arrays", f"data.path={path}", f"data.mapped={args.way == 'mapped'}"),
        *("data.dequantize=true", "loss=gaussian", "model.hidden=[16]", "latent_dim=4"),
        *("trainer.max_steps=50", "trainer.limit_val_batches=10", "samples=1"),
        "logger=none",
        folder=args.folder / f"run-{args.way}-{args.pictures}-{time.time_ns()}",
    )
    seconds = time.perf_counter() - started
    report(seconds=[seconds], peak_anonymous_mb=peak[0], training_mb=[steps[5], steps[-1]])


main()
