"""Arrays of the user, from memory or from a file: `data=arrays data.path=x.npz`."""

import logging
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch

from vaelab.data.base import (
    Binarize,
    DataModule,
    Missing,
    Split,
    check_split_fractions,
    random_split,
)
from vaelab.distributions.pixels import Pixels
from vaelab.runtime.errors import MissingFileError, UserError
from vaelab.runtime.files import atomic_write

log = logging.getLogger(__name__)

ARRAY_NAMES = "[xy](_train|_val|_test)?"  # a regular expression; other arrays are ignored
CHUNK_BYTES = 2**24
MAX_EXPANSION = 200  # of a compressed array; images of few grayscale values reach about 50
MIN_BOMB_BYTES = 2**28
MAX_NAMED = 5  # columns in a message
COMPARED_ROWS = 2_000  # of each split, to compare their scales
MAX_SCALE_RATIO = 10  # of the standard deviations of two splits
CHANNELS_FIRST_HINT = "save images (N, H, W, C) as x.transpose(0, 3, 1, 2)"


class ArrayData(DataModule):
    """A data set in memory: arrays `x` (N, *shape) and optionally `y` of length N.

    Values that are all 0 or 1 become binary pixels, whatever their dtype. Other uint8 values are
    256 levels and are scaled to [0, 1]. All other values become float32 and are not scaled, unless
    `scale` is set.

    Arrays `x_train`, `x_val` and `x_test` (and `y_train`, ...) are used as that split. Otherwise
    random images, always the same ones, are set aside for validation and testing.

    Arguments:
        arrays: The arrays by name. They may be empty if `shape` is known and `load` reads them.
        source: Where the arrays come from, for messages.
        shape: The shape of one x; null = the shape of the arrays. A shape with the same number of
            values reshapes x.
        validation, test: The fractions of the images that are set aside without a given split.
        scale: The number by which x is divided; null = 1, and 255 for uint8. With 255, whole
            numbers from 0 to 255 of any dtype become 256 levels.
        columns: The names of the columns of a table, for messages.

    Raises:
        UserError: If the arrays cannot be used, or if `shape` does not fit them.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        source: str,
        shape: Sequence[int] | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
        scale: float | None = None,
        columns: Sequence[str] = (),
        missing: Missing = "refuse",
        missing_fraction: float = 0.0,
    ):
        check_split_fractions(validation, test)
        if scale is not None and not 0 < scale < math.inf:
            raise UserError(f"data.scale={scale}: it must be a positive number, or null")
        self.fractions = (validation, test)
        self.source, self.scale, self.columns = source, scale, tuple(columns)
        self.missing: Missing = missing
        self.arrays = self._prepare_arrays(arrays) if arrays else {}
        super().__init__(
            self._choose_shape(shape),
            binarize,
            batch_size,
            seed,
            dequantize,
            missing,
            missing_fraction,
        )

    def _choose_shape(self, shape: Sequence[int] | None) -> Sequence[int]:
        """Return the shape of one x, and check that the arrays can be reshaped to it."""
        if not self.arrays:
            return shape or ()
        stored = self.arrays["x" if "x" in self.arrays else "x_train"].shape[1:]
        if shape is not None:
            _check_reshape(shape, stored, self.source)
        elif len(stored) == 3 and stored[0] not in (1, 3, 4) and stored[2] in (1, 3, 4):
            log.warning(
                "%s: images are (C, H, W), but x has shape %s, where the last axis looks like the "
                "channels: if so, %s",
                self.source,
                list(stored),
                CHANNELS_FIRST_HINT,
            )
        return stored if shape is None else shape

    def _prepare_arrays(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Check arrays, and convert x to the dtype in which images are kept."""
        _check_arrays(self.source, arrays, self.columns, self.missing)
        x_arrays = {name: x for name, x in arrays.items() if name.startswith("x")}
        kept = _convert_for_storage(x_arrays, self.scale)
        self.conversions = [_describe_conversion(x_arrays, kept, self.scale)]
        return {**arrays, **kept}

    @property
    def nbytes(self) -> int:
        """The size of the arrays in bytes."""
        return sum(array.nbytes for array in self.arrays.values())

    def save(self, path: Path) -> None:
        """Write the arrays as an npz file, which `data=arrays` reads with the same scale.

        Values that were divided are multiplied in float64, so that the division gives them exactly.
        """
        arrays = self.arrays
        if self.scale is not None:
            arrays = {
                name: x.astype(np.float64) * self.scale
                if name.startswith("x") and x.dtype == np.float32
                else x
                for name, x in arrays.items()
            }
        with atomic_write(path) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @property
    def pixels(self) -> Pixels:
        images = [x for x, _ in self.splits.values()]
        if self.pixels_with_missing is None and self.missing == "mask":  # levels with NaN are float
            observed = [x[~x.isnan()] for x in images if x.is_floating_point()]
            if observed and all(((x == 0) | (x == 1)).all() for x in observed):
                return "binary"
            if observed and self.scale == 255 and all(map(_are_scaled_levels, observed)):
                return "levels"
        is_binary = all(((x == 0) | (x == 255)).all() for x in images)
        return "binary" if is_binary and self.range == (0.0, 1.0) else super().pixels

    def load(self) -> dict[str, Split]:
        if "x" in self.arrays:
            whole = self._load_split("")
            order = random_split(len(whole.images), *self.fractions)
            return {name: Split(whole.images[i], whole.labels[i]) for name, i in order.items()}
        return {name: self._load_split(f"_{name}") for name in ("train", "val", "test")}

    def _load_split(self, suffix: str) -> Split:
        """Return the arrays x and y whose names end in `suffix`, as tensors."""
        x = self.arrays[f"x{suffix}"]
        y = self.arrays.get(f"y{suffix}", np.zeros((len(x), 0), np.int64))
        images = torch.from_numpy(x if x.flags.writeable else x.copy())
        return Split(images.reshape(len(x), *self.shape), torch.from_numpy(y))


class Arrays(ArrayData):
    """A data set from an npz file, see `ArrayData`; arrays of other names are ignored.

    A missing file is an error only when the data are loaded, if `shape` is given: the model of a
    run can be used without its data.

    Arguments:
        path: The npz file.
        settings: Those of ArrayData.

    Raises:
        MissingFileError: If there is no file at `path`.
        UserError: If the file is not an npz file, if its arrays cannot be used, or if `shape` does
            not fit them.
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
        scale: float | None = None,
        missing: Missing = "refuse",
        missing_fraction: float = 0.0,
    ):
        self.path = path
        is_needed = shape is None or Path(path).is_file()
        arrays, self.ignored = _read_npz(path) if is_needed else ({}, [])
        super().__init__(
            arrays,
            path,
            shape,
            validation,
            test,
            binarize,
            batch_size,
            seed,
            dequantize,
            scale,
            missing=missing,
            missing_fraction=missing_fraction,
        )

    def load(self) -> dict[str, Split]:
        if not self.arrays:
            arrays, self.ignored = _read_npz(self.path)
            self.arrays = self._prepare_arrays(arrays)
        if self.ignored:
            self.conversions.append(f"arrays that are ignored: {', '.join(self.ignored)}")
        splits = super().load()
        self.arrays = {}  # the splits are copies
        return splits


def _check_reshape(shape: Sequence[int], stored: Sequence[int], path: str) -> None:
    """Refuse a shape with another number of values, or one that would mix channels and pixels."""
    mismatch = f"data.shape={list(shape)}, but x in {path} has shape {list(stored)}"
    if math.prod(shape) != math.prod(stored):
        raise UserError(f"{mismatch}: set data.shape=null to use the shape in the file")
    is_permuted = [edge for edge in shape if edge > 1] != [edge for edge in stored if edge > 1]
    if is_permuted and sorted(shape) == sorted(stored):  # a reshape does not move axes
        raise UserError(f"{mismatch}: {CHANNELS_FIRST_HINT} and set data.shape=null")


def _read_npz(path: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the arrays x and y of an npz file, and the names of the other arrays."""
    if not Path(path).is_file():
        raise MissingFileError(
            f"data.path={path}: there is no such file; set data.path to an npz file"
        )
    try:
        with zipfile.ZipFile(path) as file:
            for member in file.infolist():
                _check_expansion(member)
            if damaged := file.testzip():  # numpy checks only members that it reads to the end
                raise UserError(f"the checksum of {damaged} is wrong")
        with Path(path).open("rb") as file, np.load(file) as npz:
            arrays = {name: npz[name] for name in npz.files if re.fullmatch(ARRAY_NAMES, name)}
            names = npz.files
    except Exception as error:
        reason = shorten(str(error), 200) or type(error).__name__
        raise UserError(
            f"data.path={path} cannot be read as an npz file of numbers ({reason}): write it with "
            "numpy.savez(path, x=x)"
        ) from error
    if "x" not in arrays and not {"x_train", "x_val", "x_test"} <= arrays.keys():
        raise UserError(
            f"{path} has {', '.join(names) or 'no arrays'}, but it must have x, or x_train, x_val "
            "and x_test: write it with numpy.savez(path, x=x)"
        )
    return arrays, [name for name in names if name not in arrays]


def _check_expansion(member: zipfile.ZipInfo) -> None:
    """Refuse a small file that would fill the memory."""
    if member.file_size > max(MIN_BOMB_BYTES, MAX_EXPANSION * member.compress_size):
        raise UserError(
            f"{member.filename} expands from {member.compress_size:,} to {member.file_size:,} "
            "bytes: if you trust it, write it without compression"
        )


def _check_arrays(
    source: str, arrays: Mapping[str, np.ndarray], columns: Sequence[str], missing: Missing
) -> None:
    """Refuse arrays whose names, shape, dtype or values cannot be used."""
    _check_names(source, arrays)
    for kind in "xy":
        shapes = {name: x.shape[1:] for name, x in arrays.items() if name.startswith(kind)}
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            raise UserError(
                f"{source}: the rows of {kind} have different shapes ({listed}): save all splits "
                "with the same shape"
            )
    labelled = [] if "x" in arrays else [name for name in arrays if name.startswith("y")]
    if 0 < len(labelled) < 3:
        raise UserError(
            f"{source} has labels only in {', '.join(labelled)}: save y_train, y_val and y_test, "
            "or none of them"
        )
    for name, y in arrays.items():
        x = arrays.get(f"x{name[1:]}")
        if name.startswith("y") and x is not None and len(y) != len(x):
            raise UserError(
                f"{source}: {name} has {len(y)} rows, but x{name[1:]} has {len(x)}: save one label "
                "for each row of x"
            )
    for name, array in arrays.items():
        if array.dtype.kind not in "buif":
            raise UserError(
                f"{source}: {name} must hold numbers, but its dtype is {array.dtype}: convert it, "
                f"as in {name}.astype('float32')"
            )
        if name.startswith("x") and (array.ndim < 2 or 0 in array.shape[1:]):
            raise UserError(
                f"{source}: {name} must have shape (N, ...), one row for each image, but its shape "
                f"is {array.shape}"
            )
        allows_nan = missing == "mask" and name.startswith("x") and array.dtype.kind == "f"
        if not all(
            (_fits_float32(rows) | (np.isnan(rows) if allows_nan else False)).all()
            for rows in _split_rows(array)
        ):
            raise UserError(
                f"{source}: {name} holds NaN, infinity or values beyond float32"
                f"{_locate_bad_values(name, array, columns)}: remove these rows, or replace the "
                "values"
                + ("" if allows_nan or name[0] == "y" else ", or set data.missing=mask for NaN")
            )
    _check_same_scale(source, arrays)


def _check_names(source: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse arrays that would be ignored, because x is not split as they are."""
    whole = [name for name in arrays if name in ("x", "y")]
    parts = [name for name in arrays if name not in whole]
    if "x" in whole and parts:
        raise UserError(
            f"{source} has x, which is split at random, and {', '.join(parts)}: rename x to "
            "x_train and give x_val and x_test as well, or leave out all but x and y"
        )
    if parts and whole:
        raise UserError(
            f"{source} has {', '.join(parts)}, but the labels {', '.join(whole)} of no split: save "
            "y_train, y_val and y_test"
        )


def _locate_bad_values(name: str, array: np.ndarray, columns: Sequence[str]) -> str:
    """Say how many values cannot be used, and in which columns of a table."""
    count, bad_rows = 0, 0
    by_column = np.zeros(array.shape[1] if array.ndim == 2 else 0, int)
    for rows in _split_rows(array):
        bad = ~_fits_float32(rows).reshape(len(rows), -1)
        count, bad_rows = count + int(bad.sum()), bad_rows + int(bad.any(1).sum())
        by_column += bad.sum(0) if len(by_column) else 0
    text = f" ({count} values in {bad_rows} of {len(array)} rows"
    worst = [int(column) for column in np.argsort(-by_column, kind="stable") if by_column[column]]
    named = [
        f"{by_column[column]} in "
        + (f"column {columns[column]}" if name[0] == "x" and columns else f"{name}[:, {column}]")
        for column in worst[:MAX_NAMED]
    ]
    if len(worst) > MAX_NAMED:
        named.append(f"others in {len(worst) - MAX_NAMED} more columns")
    return text + (f"; {', '.join(named)})" if named else ")")


def _check_same_scale(source: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse splits that differ in their dtype or scale, such as 0..255 and 0..1."""
    if "x_train" not in arrays:
        return
    train = arrays["x_train"]
    for name in ("x_val", "x_test"):
        other = arrays.get(name, train[:0])
        is_level = [x.dtype == np.uint8 for x in (train, other)]
        differs = len(other) > 0 and is_level[0] != is_level[1]
        if differs and not (_is_binary(train) and _is_binary(other)):
            raise UserError(
                f"{source}: x_train is {train.dtype}, but {name} is {other.dtype}: save all splits "
                "with the same dtype and scale"
            )
        ratio = _compare_deviations(train, other)
        if not 1 / MAX_SCALE_RATIO < ratio < MAX_SCALE_RATIO:
            low, high = (f"[{x.min():g}, {x.max():g}]" for x in (train, other))
            raise UserError(
                f"{source}: the standard deviation of x_train ({low}) is {ratio:.3g} times that of "
                f"{name} ({high}): save all splits with the same scale"
            )


def _compare_deviations(x: np.ndarray, y: np.ndarray) -> float:
    """Return the ratio of the standard deviations of x and y, the median over their positions."""
    if min(len(x), len(y)) < 2:
        return 1.0
    deviations = []
    for array in (x, y):
        rows = array[:: -(-len(array) // COMPARED_ROWS)].reshape(-1, math.prod(array.shape[1:]))
        deviations.append(rows.astype(np.float64).std(0))
    varies = (deviations[0] > 0) & (deviations[1] > 0)
    ratios = deviations[0][varies] / deviations[1][varies]
    return float(np.median(ratios)) if len(ratios) else 1.0


def _convert_for_storage(
    arrays: dict[str, np.ndarray], scale: float | None
) -> dict[str, np.ndarray]:
    """Convert binary values and 256 levels to uint8, and all others to float32."""
    if scale == 255 and all(map(_is_levels, arrays.values())):
        return {name: x.astype(np.uint8, copy=False) for name, x in arrays.items()}
    if scale is not None:
        return {name: _divide(x, scale) for name, x in arrays.items()}
    if all(map(_is_binary, arrays.values())):
        return {
            name: np.multiply(x, 255, dtype=np.uint8, casting="unsafe")
            for name, x in arrays.items()
        }
    if all(x.dtype == np.uint8 for x in arrays.values()):
        return arrays
    return {name: x.astype(np.float32, copy=False) for name, x in arrays.items()}


def _is_binary(x: np.ndarray) -> bool:
    return all(((rows == 0) | (rows == 1)).all() for rows in _split_rows(x))


def _divide(x: np.ndarray, scale: float) -> np.ndarray:
    """Return x / scale, rounded once to float32."""
    divided = np.empty(x.shape, np.float32)
    for rows, kept in _split_rows(x, divided):
        kept[...] = rows.astype(np.float64) / scale
    return divided


def _is_levels(x: np.ndarray) -> bool:
    """True if all values are whole numbers from 0 to 255."""
    if x.dtype in (np.uint8, bool):
        return True
    return all(
        ((rows >= 0) & (rows <= 255) & (rows == np.floor(rows))).all() for rows in _split_rows(x)
    )


def _are_scaled_levels(x: torch.Tensor) -> bool:
    """True if all values are whole numbers divided by 255."""
    return torch.equal(x, (255 * x).round() / 255)


def _describe_conversion(
    x: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray], scale: float | None
) -> str:
    """Say what became of the values of x."""
    name = next(iter(x))
    dtype = x[name].dtype
    if kept[name].dtype == np.uint8 and dtype != np.uint8:
        return f"{dtype}, kept as {'256 levels' if scale else 'binary pixels'}"
    if kept[name].dtype == np.uint8:
        return "uint8" + (", 0 and 1 kept as binary pixels" if kept[name] is not x[name] else "")
    divided = f"divided by {scale:g}" if scale else "not scaled"
    return f"{dtype}, {divided}" + ("" if dtype == np.float32 else ", kept as float32")


def _fits_float32(x: np.ndarray) -> np.ndarray:
    """True for each value that float32 can hold."""
    if x.dtype.kind in "bu":
        return np.ones(1, bool)
    return abs(x.astype(np.float64)) <= np.finfo(np.float32).max


def _split_rows(x: np.ndarray, *more: np.ndarray) -> Iterator[Any]:
    """Yield parts of an array, so that temporary copies of them are small.

    Arguments:
        more: Arrays with as many rows; with them, tuples of parts are yielded.
    """
    step = max(1, CHUNK_BYTES // max(1, x[:1].nbytes))
    for start in range(0, len(x), step):
        parts = tuple(each[start : start + step] for each in (x, *more))
        yield parts if more else parts[0]
