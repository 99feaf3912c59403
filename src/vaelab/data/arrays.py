"""The user's own numbers: `data=arrays data.path=x.npz`."""

import logging
import math
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vaelab.data.base import Binarize, DataModule, Split, check_fractions, random_split
from vaelab.distributions.pixels import Pixels

log = logging.getLogger(__name__)

NAMES = "[xy](_train|_val|_test)?"  # of the arrays of a file that are read
CHANNELS_FIRST = "save pictures (N, H, W, C) as x.transpose(0, 3, 1, 2)"


class Arrays(DataModule):
    """Arrays of an npz file: `x` (N, *shape) and optionally `y` of length N.

    uint8 are 256 levels, made [0, 1]; zeros and ones alone are bits; all else stays as it is.

    A file with `x_train`, `x_val` and `x_test` (and `y_...`) is taken as it is split; otherwise a
    tenth each, drawn at random but always the same, validates and tests.

    Arguments:
        path: The file.
        shape: null takes the shape of the arrays; a shape of as many numbers reshapes them.
        validation, test: The fractions that are set aside where the file is not split.
    """

    def __init__(
        self,
        path: str,
        shape: Sequence[int] | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        check_fractions(validation, test)
        self.path = path
        self.fractions = (validation, test)
        self.arrays = _read(path)
        found = self.arrays["x" if "x" in self.arrays else "x_train"].shape[1:]
        if shape is not None:
            _check_shape(shape, found, path)
        elif len(found) == 3 and found[0] not in (1, 3) and found[2] in (1, 3):
            log.warning("%s: is %s channels last? %s", path, list(found), CHANNELS_FIRST)
        super().__init__(found if shape is None else shape, binarize, batch_size, seed, dequantize)

    @property
    def pixels(self) -> Pixels:
        bits = all(((x == 0) | (x == 255)).all() for x, _ in self.splits.values())
        return "binary" if bits and self.range == (0.0, 1.0) else super().pixels

    def load(self) -> dict[str, Split]:
        if "x" in self.arrays:
            whole = self._split("")
            order = random_split(len(whole.images), *self.fractions)
            return {name: Split(whole.images[i], whole.labels[i]) for name, i in order.items()}
        return {name: self._split(f"_{name}") for name in ("train", "val", "test")}

    def _split(self, suffix: str) -> Split:
        x = self.arrays[f"x{suffix}"]
        y = self.arrays.get(f"y{suffix}", np.zeros((len(x), 0), np.int64))
        if len(y) != len(x):
            raise ValueError(f"{self.path}: y{suffix} has {len(y)} rows, x{suffix} has {len(x)}")
        images = torch.from_numpy(x)
        return Split(images.reshape(len(x), *self.shape), torch.from_numpy(y))


def _check_shape(shape: Sequence[int], found: Sequence[int], path: str) -> None:
    """Refuse a shape of other numbers, and to take channels that lie last for the first axis."""
    known = f"data.shape={list(shape)}, but {path} holds x of shape {list(found)}"
    if math.prod(shape) != math.prod(found):
        raise ValueError(f"{known}: leave data.shape=null")
    moved = [edge for edge in shape if edge > 1] != [edge for edge in found if edge > 1]
    if moved and sorted(shape) == sorted(found):  # to reshape moves nothing
        raise ValueError(f"{known}: {CHANNELS_FIRST} and leave data.shape=null")


def _read(path: str) -> dict[str, np.ndarray]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"data.path={path}: there is no such file")
    try:
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():  # numpy compares checksums of whole members only
                raise ValueError(f"{damaged} is not as its checksum says")
        with Path(path).open("rb") as file, np.load(file) as npz:
            arrays = {name: npz[name] for name in npz.files if re.fullmatch(NAMES, name)}
            names = npz.files
    except Exception as error:
        raise ValueError(
            f"data.path={path} is no npz file of plain arrays: write one with "
            "numpy.savez(path, x=x)"
        ) from error
    if "x" not in arrays and not {"x_train", "x_val", "x_test"} <= arrays.keys():
        raise ValueError(
            f"{path} holds {', '.join(names) or 'nothing'}: it must hold x, or x_train, x_val "
            "and x_test"
        )
    _check(path, arrays)
    return arrays | _stored({key: x for key, x in arrays.items() if key.startswith("x")})


def _check(path: str, arrays: dict[str, np.ndarray]) -> None:
    for kind in "xy":
        shapes = {array.shape[1:] for key, array in arrays.items() if key.startswith(kind)}
        if len(shapes) > 1:
            raise ValueError(f"{path}: the splits of {kind} have different shapes, {shapes}")
    splits = "" if "x" in arrays else ", ".join(key for key in arrays if key.startswith("y"))
    if splits and splits.count("y") < 3:
        raise ValueError(f"{path} holds {splits}: give labels to train, val and test, or to none")
    for key, array in arrays.items():
        if array.dtype.kind not in "buif":
            raise ValueError(f"{path}: {key} must be numbers, not {array.dtype}")
        if key.startswith("x") and (array.ndim < 2 or 0 in array.shape[1:]):
            raise ValueError(f"{path}: {key} must be of shape (N, ...), not {array.shape}")
        largest = np.finfo(np.float32).max
        if key.startswith("x") and not (abs(array.astype(np.float64)) <= largest).all():
            raise ValueError(f"{path}: {key} holds nan or numbers beyond float32: remove them")


def _stored(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Bits as 0 and 255, as pictures of them are; levels as they are, all else as float32."""
    if all(((x == 0) | (x == 1)).all() for x in arrays.values()):
        return {key: x.astype(np.uint8) * 255 for key, x in arrays.items()}
    if all(x.dtype == np.uint8 for x in arrays.values()):
        return arrays
    return {key: x.astype(np.float32) for key, x in arrays.items()}
