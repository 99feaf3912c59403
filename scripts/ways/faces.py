"""An epoch of loading faces: from the cache of vaelab, or with torchvision and a DataLoader."""

import argparse
import time
from pathlib import Path

from report import report

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("way", choices=("make", "build", "cache", "mapped", "decode", "torchvision"))
parser.add_argument("root", type=Path)
parser.add_argument("--pictures", type=int, default=20_000)
asked = parser.parse_args()
folder = asked.root / "celeba"


def make():
    """Pictures of 178x218 with the files that list them, as CelebA is published."""
    import numpy as np
    from PIL import Image

    (folder / "img_align_celeba").mkdir(parents=True)
    chance = np.random.default_rng(0)
    names = [f"{number:06}.jpg" for number in range(1, asked.pictures + 1)]
    for name in names:
        small = chance.integers(0, 256, (14, 11, 3), dtype=np.uint8)
        face = Image.fromarray(small).resize((178, 218), Image.Resampling.BICUBIC)
        face.save(folder / "img_align_celeba" / name, quality=95)
    columns = " ".join(f"Attribute{number}" for number in range(40))
    rows = "".join(f"{name} {' '.join(['1', '-1'] * 20)}\n" for name in names)
    (folder / "list_attr_celeba.txt").write_text(f"{len(names)}\n{columns}\n{rows}")
    splits = [min(2, max(0, number - len(names) + 3)) for number in range(len(names))]
    rows = zip(names, splits, strict=True)
    partition = "".join(f"{name} {split}\n" for name, split in rows)
    (folder / "list_eval_partition.txt").write_text(partition)
    for name, width in (("identity_CelebA", 1), ("list_landmarks_align_celeba", 10)):
        head = f"{len(names)}\n{' '.join('x' * width)}\n" if width > 1 else ""
        rows = "".join(f"{each} {' '.join('1' * width)}\n" for each in names)
        (folder / f"{name}.txt").write_text(head + rows)
    bbox = "".join(f"{name} 1 1 1 1\n" for name in names)
    (folder / "list_bbox_celeba.txt").write_text(f"{len(names)}\nname x y w h\n{bbox}")


def faces():
    from vaelab.data.celeba import CelebA

    data = CelebA(str(asked.root))
    data.prepare_data()
    data.setup()
    return data


def decode():
    """What two processes reach alone, each with half of the pictures and nothing else to do."""
    from multiprocessing import get_context

    paths = sorted(map(str, (folder / "img_align_celeba").iterdir()))
    halves = [paths[::2], paths[1::2]]
    with get_context("fork").Pool(2) as pool:
        pool.map(_decode_all, [half[:10] for half in halves], chunksize=1)
        started = time.perf_counter()
        pool.map(_decode_all, halves, chunksize=1)
        return [time.perf_counter() - started]


def _decode_all(paths):
    from vaelab.data.image_file import read_image

    for path in paths:
        read_image(path, lambda name: Path(name).read_bytes(), (3, 64, 64), 140, "")


def made_up():
    """A cache of pictures of 64x64 that cost nothing to decode."""
    from vaelab.data.base import Split, TrainingBatches
    from vaelab.data.cache import open_cached

    images = open_cached(asked.root, "made", (3, 64, 64), range(asked.pictures), _flat, 0).images
    return TrainingBatches(Split(images, images.new_zeros(len(images), 0)), 128, seed=0)


def _flat(number):
    import torch

    return torch.full((3, 64, 64), number % 256, dtype=torch.uint8)


def loaded(batches, prepare):
    """The seconds of three epochs."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        for x, _ in batches:
            prepare(x)
        seconds.append(time.perf_counter() - started)
    return seconds


def torchvision():
    from torch.utils.data import DataLoader
    from torchvision import datasets
    from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

    class CelebA(datasets.CelebA):
        def _check_integrity(self):
            return True

    transform = Compose([CenterCrop(140), Resize(64), ToTensor()])
    data = CelebA(str(asked.root), "train", transform=transform)
    return loaded(DataLoader(data, batch_size=128, shuffle=True, num_workers=2), lambda x: x)


def anonymous_mb() -> float:
    """The memory of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


if asked.way == "make":
    make()
elif asked.way == "decode":
    report(seconds=decode())
elif asked.way == "torchvision":
    report(seconds=torchvision())
elif asked.way == "build":
    import vaelab.data.celeba  # noqa: F401 - not to be timed

    started = time.perf_counter()
    faces()
    report(seconds=[time.perf_counter() - started])
else:
    batches = made_up() if asked.way == "mapped" else faces().train_dataloader()
    before = anonymous_mb()
    seconds = loaded(batches, lambda x: x / 255)
    report(seconds=seconds, anonymous_mb=anonymous_mb(), grown_mb=anonymous_mb() - before)
