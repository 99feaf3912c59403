"""Time the loading of faces: from the cache of vaelab, or with torchvision and a DataLoader."""

import argparse
import time
from pathlib import Path

from report import report

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("way", choices=("make", "build", "cache", "mapped", "decode", "torchvision"))
parser.add_argument("root", type=Path)
parser.add_argument("--pictures", type=int, default=20_000)
args = parser.parse_args()
folder = args.root / "celeba"


def make_images():
    """Write random images of 178x218 with annotation files, in the format of CelebA."""
    import numpy as np
    from PIL import Image

    (folder / "img_align_celeba").mkdir(parents=True)
    generator = np.random.default_rng(0)
    names = [f"{number:06}.jpg" for number in range(1, args.pictures + 1)]
    for name in names:
        small = generator.integers(0, 256, (14, 11, 3), dtype=np.uint8)
        face = Image.fromarray(small).resize((178, 218), Image.Resampling.BICUBIC)
        face.save(folder / "img_align_celeba" / name, quality=95)
    columns = " ".join(f"Attribute{number}" for number in range(40))
    rows = "".join(f"{name} {' '.join(['1', '-1'] * 20)}\n" for name in names)
    (folder / "list_attr_celeba.txt").write_text(
        f"{len(names)}\n{columns}\n{rows}", encoding="utf-8"
    )
    splits = [min(2, max(0, number - len(names) + 3)) for number in range(len(names))]
    rows = zip(names, splits, strict=True)
    partition = "".join(f"{name} {split}\n" for name, split in rows)
    (folder / "list_eval_partition.txt").write_text(partition, encoding="utf-8")
    for file, width in (("identity_CelebA", 1), ("list_landmarks_align_celeba", 10)):
        head = f"{len(names)}\n{' '.join('x' * width)}\n" if width > 1 else ""
        rows = "".join(f"{name} {' '.join('1' * width)}\n" for name in names)
        (folder / f"{file}.txt").write_text(head + rows, encoding="utf-8")
    bbox = "".join(f"{name} 1 1 1 1\n" for name in names)
    (folder / "list_bbox_celeba.txt").write_text(
        f"{len(names)}\nname x y w h\n{bbox}", encoding="utf-8"
    )


def load_celeba():
    """Return the data module of the images, which builds its cache where there is none."""
    from vaelab.data.celeba import CelebA

    data = CelebA(str(args.root))
    data.prepare_data()
    data.setup()
    return data


def time_decoding():
    """Return the seconds that two processes need to decode half of the images each."""
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


def constant_image_batches():
    """Return the training batches of a cache of constant 64x64 images, which need no decoding."""
    from vaelab.data.base import Split, TrainingBatches
    from vaelab.data.cache import open_cached

    images = open_cached(
        args.root, "made", (3, 64, 64), range(args.pictures), _constant_image, 0
    ).images
    return TrainingBatches(Split(images, images.new_zeros(len(images), 0)), 128, seed=0)


def _constant_image(number):
    import torch

    return torch.full((3, 64, 64), number % 256, dtype=torch.uint8)


def time_epochs(batches, prepare):
    """Return the seconds of each of three epochs."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        for x, _ in batches:
            prepare(x)
        seconds.append(time.perf_counter() - started)
    return seconds


def time_torchvision():
    """Return the seconds of each of three epochs with torchvision and a DataLoader."""
    from torch.utils.data import DataLoader
    from torchvision import datasets
    from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

    class CelebA(datasets.CelebA):
        def _check_integrity(self):
            return True

    transform = Compose([CenterCrop(140), Resize(64), ToTensor()])
    data = CelebA(str(args.root), "train", transform=transform)
    return time_epochs(DataLoader(data, batch_size=128, shuffle=True, num_workers=2), lambda x: x)


def anonymous_mb() -> float:
    """Return the anonymous memory of this process in MB: memory that is not backed by a file."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


if args.way == "make":
    make_images()
elif args.way == "decode":
    report(seconds=time_decoding())
elif args.way == "torchvision":
    report(seconds=time_torchvision())
elif args.way == "build":
    import vaelab.data.celeba  # noqa: F401 - imported before the clock starts

    started = time.perf_counter()
    load_celeba()
    report(seconds=[time.perf_counter() - started])
else:
    batches = constant_image_batches() if args.way == "mapped" else load_celeba().train_dataloader()
    before = anonymous_mb()
    seconds = time_epochs(batches, lambda x: x / 255)
    report(seconds=seconds, anonymous_mb=anonymous_mb(), grown_mb=anonymous_mb() - before)
