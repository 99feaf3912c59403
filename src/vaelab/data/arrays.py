"""Arrays of the user, from memory or from a file: `data=arrays data.path=x.npz`."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaelab.data.array_files import (
    FileContent,
    Rows,
    Selection,
    list_files,
    open_array_file,
    reading_file,
)
from vaelab.data.base import (
    Binarize,
    DataModule,
    Missing,
    Split,
    check_split_fractions,
    measure_standardization,
    random_split,
)
from vaelab.data.columns import Categories, number_factors, number_labels
from vaelab.data.kinds import Kind, check_kind, check_values
from vaelab.data.mapped import MappedFiles, map_file
from vaelab.distributions.pixels import Pixels
from vaelab.runtime.errors import UserError
from vaelab.runtime.files import atomic_write

log = logging.getLogger(__name__)

CHUNK_BYTES = 2**22
MAX_IN_MEMORY = 2**31  # bytes of x; larger files are mapped
MAX_NAMED = 5  # columns in a message
COMPARED_ROWS = 2_000  # of each split, to compare their scales
MAX_SCALE_RATIO = 10  # of the standard deviations of two splits
CHANNELS_FIRST_HINT = "save images (N, H, W, C) as x.transpose(0, 3, 1, 2)"


class ArrayData(DataModule):
    """A data set in memory: arrays `x` (N, *shape) and optionally `y` of length N.

    Values that are all 0 or 1 become binary pixels, whatever their dtype. Other uint8 values are
    256 levels and are scaled to [0, 1]. All other values become float32 and are not scaled, unless
    `scale` is set. With another `kind` than auto, all values become float32 and are not scaled.

    Arrays `x_train`, `x_val` and `x_test` (and `y_train`, ...) are used as that split. Otherwise
    random images, always the same ones, are set aside for validation and testing.

    Labels that are words become numbers in alphabetical order.

    Arguments:
        arrays: The arrays by name. They may be empty if `shape` is known and `load` reads them.
        source: Where the arrays come from, for messages.
        shape: The shape of one x; null = the shape of the arrays. A shape with the same number of
            values reshapes x.
        validation, test: The fractions of the images that are set aside without a given split.
        scale: The number by which x is divided; null = 1, and 255 for uint8. With 255, whole
            numbers from 0 to 255 of any dtype become 256 levels.
        columns: The names of the columns of a table, for messages.
        kind: auto, as above; real; count (non-negative whole numbers); or a list of the kinds of
            the columns of a table, as in [real,binary,categorical:3,count], where categorical:3
            stands for three one-hot columns.
        factors: The names of the generative factors, if the labels (N, K) are their values. Each
            value becomes an integer from 0, in ascending order.
        unordered: The names of the factors whose values have no order; factors of words never have
            one.
        standardize: If true, the model sees (x - mean) / standard deviation, both of the training
            rows: of each column of a table, and of each channel of other data. The run keeps
            them, and samples and reconstructions are in the units of the data.

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
        factors: Sequence[str] = (),
        unordered: Sequence[str] = (),
        standardize: bool = False,
        kind: Kind = "auto",
        missing: Missing = "refuse",
        missing_fraction: float = 0.0,
        augment: Sequence[str] = (),
    ):
        check_split_fractions(validation, test)
        check_kind(kind, scale, binarize)
        self.kind = kind if isinstance(kind, str) else [str(each) for each in kind]
        if scale is not None and not 0 < scale < math.inf:
            raise UserError(f"data.scale={scale}: it must be a positive number, or null")
        if standardize and (binarize != "none" or dequantize or kind not in ("auto", "real")):
            other = "data.dequantize=true" if dequantize else f"data.binarize={binarize}"
            other = other if binarize != "none" or dequantize else f"data.kind={kind}"
            raise UserError(
                f"data.standardize=true makes x real numbers without levels: leave out {other}"
            )
        self.fractions = (validation, test)
        self.source, self.scale, self.columns = source, scale, tuple(columns)
        self.factors, self.unordered = tuple(factors), tuple(unordered)
        self.standardize = standardize
        self.missing: Missing = missing
        self.arrays = self._prepare_arrays(arrays) if arrays else {}
        super().__init__(
            self._choose_shape(shape, self.arrays),
            binarize,
            batch_size,
            seed,
            dequantize,
            missing,
            missing_fraction,
            augment,
        )

    def _choose_shape(
        self, shape: Sequence[int] | None, arrays: Mapping[str, Rows]
    ) -> Sequence[int]:
        """Return the shape of one x, and check that the arrays can be reshaped to it."""
        if not arrays:
            return shape or ()
        stored = arrays["x" if "x" in arrays else "x_train"].shape[1:]
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
        prepared, sentences = self._number_labels(arrays)
        _check_arrays(self.source, prepared, self.columns, self.missing)
        x_arrays = {name: x for name, x in prepared.items() if name.startswith("x")}
        convert = _choose_conversion(x_arrays, self.scale, self.kind)
        kept = {name: convert(x) for name, x in x_arrays.items()}
        self.conversions = [_describe_conversion(x_arrays, kept, self.scale), *sentences]
        return {**prepared, **kept}

    def _number_labels(
        self, arrays: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], list[str]]:
        """Number labels that are words, and the values of factors; also say what was numbered."""
        if not self.factors:
            if self.unordered:
                raise UserError(
                    f"data.unordered={list(self.unordered)}: name all factors in data.factors"
                )
            return number_labels(dict(arrays))
        numbered, self.unordered, sentences = number_factors(
            self.source, dict(arrays), self.factors, self.unordered
        )
        return numbered, sentences

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
        if self.standardization is not None:
            return "real"
        if self.kind != "auto":
            return super().pixels
        images = [x for x, _ in self.splits.values()]
        if self.pixels_with_missing is None and self.missing == "mask":  # levels with NaN are float
            observed = [x[~x.isnan()] for x in images if x.is_floating_point()]
            if observed and all(((x == 0) | (x == 1)).all() for x in observed):
                return "binary"
            if observed and self.scale == 255 and all(map(_are_scaled_levels, observed)):
                return "levels"
        is_binary = all(
            ((part == 0) | (part == 255)).all()
            for x in images
            for part in x.split(max(1, CHUNK_BYTES // max(1, x[:1].nbytes)))
        )
        return "binary" if is_binary and self.range == (0.0, 1.0) else super().pixels

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if self.standardize and self.standardization is None:
            self.standardization = measure_standardization(self.splits["train"].images)
        if self.standardize and not any("standardized" in text for text in self.conversions):
            self.conversions.append(
                "standardized with the mean and standard deviation of the training data, so that "
                "likelihoods and errors are those of standardized values"
            )

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
        images, labels = (
            torch.from_numpy(each if each.flags.writeable else each.copy()) for each in (x, y)
        )
        return Split(images.reshape(len(x), *self.shape), labels)


class Arrays(ArrayData):
    """A data set from a file, see `ArrayData`; arrays of other names are ignored.

    The ending of the file says how it is read: npz, npy, csv, tsv, parquet, feather, h5, hdf5 or
    h5ad. A folder is read as named arrays x.npy, y.npy, x_train.npy, ...

    A missing file is an error only when the data are loaded, if `shape` is given: the model of a
    run can be used without its data.

    A file that is larger than `MAX_IN_MEMORY` is not read into memory: it is mapped, if it is an
    npy file of uint8 or float32 with given splits, and otherwise converted once to a file in the
    folder `cache`, which is mapped. Both give the same numbers.

    Arguments:
        path: The file or the folder.
        settings: Those of ArrayData.
        x: The name of the array or dataset of x, by default x; X, or layers/counts, of an h5ad
            file; or the names of some columns of a table, by default all but labels and factors.
        label: The name of the array or column of the labels; null = y of arrays, none of a table.
        factors: Those of ArrayData: names of arrays or columns, or names for the columns of y.
        categories: What becomes of columns of words: refuse, or onehot, a column for each word.
        mapped: True to map the file into memory, false to read it; null maps large files.
        cache: The folder of converted files; null = .vaelab-cache beside the file.

    Raises:
        MissingFileError: If there is no file at `path`.
        UserError: If the file cannot be read, if its arrays cannot be used, or if `shape` does not
            fit them.
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
        x: str | Sequence[str | int] | None = None,
        label: str | None = None,
        factors: Sequence[str] = (),
        unordered: Sequence[str] = (),
        categories: Categories = "refuse",
        standardize: bool = False,
        mapped: bool | None = None,
        cache: str | None = None,
        kind: Kind = "auto",
        missing: Missing = "refuse",
        missing_fraction: float = 0.0,
        augment: Sequence[str] = (),
    ):
        if label is not None and factors:
            raise UserError(
                f"data.label={label} and data.factors={list(factors)}: factors are the labels, so "
                "leave out data.label"
            )
        self.path, self.mapped = path, mapped
        self.cache = cache or str(Path(path).parent / ".vaelab-cache")
        self.selection = Selection(x, label, tuple(factors), categories)
        self.opened: FileContent | None = None
        is_needed = shape is None or Path(path).exists()
        content = self._open() if is_needed else FileContent({})
        super().__init__(
            *({} if self.opened else content.arrays, path, shape, validation, test, binarize),
            *(batch_size, seed, dequantize, scale, content.columns, factors, unordered),
            *(standardize, kind, missing, missing_fraction, augment),
        )
        if self.opened:
            self.shape = tuple(self._choose_shape(shape, content.arrays))
        self._add_sentences(content)

    def _open(self) -> FileContent:
        """Open the file; read it, unless it is to be mapped: then `opened` is set."""
        content = open_array_file(self.path, self.selection)
        sizes = [
            math.prod(x.shape) * x.dtype.itemsize
            for name, x in content.arrays.items()
            if name.startswith("x")
        ]
        if self.mapped or (self.mapped is None and sum(sizes) > MAX_IN_MEMORY):
            self.opened = content
            return content
        with reading_file(self.path, "numbers", "write it again"):
            read = {
                name: x if type(x) is np.ndarray else np.array(x[:])
                for name, x in content.arrays.items()
            }
        return content._replace(arrays=read)

    def _add_sentences(self, content: FileContent) -> None:
        self.conversions += content.conversions
        if content.ignored:
            self.conversions.append(f"arrays that are ignored: {', '.join(content.ignored)}")

    def load(self) -> dict[str, Split]:
        if not self.arrays and self.opened is None:
            content = self._open()
            self.columns = tuple(content.columns)
            if self.opened is None:
                self.arrays = self._prepare_arrays(content.arrays)
            self._add_sentences(content)
        splits = super().load() if self.opened is None else self._load_mapped(self.opened)
        self.arrays, self.opened = {}, None  # the splits are copies
        return splits

    def _load_mapped(self, content: FileContent) -> dict[str, Split]:
        """Map the file into memory, or a converted copy of it, which is written the first time."""
        self.scratch = self.cache
        arrays, sentences = self._number_labels(content.arrays)
        order = None
        if "x" in arrays:
            order = random_split(len(arrays["x"]), *self.fractions)
        with reading_file(self.path, "numbers", "write it again"):
            stored = self._convert_mapped(arrays, order)
        self.conversions[:0] = [stored.sentence, *sentences]
        splits = {}
        for name in ("train", "val", "test"):
            suffix = "" if order else f"_{name}"
            x, y = stored.arrays.get(f"x{suffix}"), arrays.get(f"y{suffix}")
            if x is None:  # it is mapped as it is
                x = map_file(arrays[f"x{suffix}"])
            labels = torch.from_numpy(np.zeros((len(x), 0), np.int64) if y is None else y)
            if order:  # the file is in the order of the splits
                before = sum(len(order[other]) for other in list(order)[: list(order).index(name)])
                x, labels = x[before : before + len(order[name])], labels[order[name]]
            splits[name] = Split(x.reshape(len(x), *self.shape), labels)
        return splits

    def _convert_mapped(
        self, arrays: Mapping[str, Rows], order: Mapping[str, torch.Tensor] | None
    ) -> MappedFiles:
        """Return the converted rows of the cache; the first time, check the file and convert it."""
        sources = [(file.name, *_size_and_time(file)) for file in list_files(self.path)]
        key = (sources, self.selection, self.scale, self.fractions, self.kind, self.missing)
        files = MappedFiles(Path(self.cache), key)
        if files.open():
            return files
        _check_arrays(self.source, arrays, self.columns, self.missing)
        x_arrays = {name: x for name, x in arrays.items() if name.startswith("x")}
        convert = _choose_conversion(x_arrays, self.scale, self.kind)
        first = {name: x[:1] for name, x in x_arrays.items()}
        kept = {name: convert(rows) for name, rows in first.items()}
        targets = None if order is None else torch.cat(list(order.values())).argsort().numpy()
        for name, x in x_arrays.items():
            if order is None and kept[name] is first[name] and isinstance(x, np.memmap):
                continue  # the file itself is mapped
            files.write(name, kept[name].dtype, x.shape, map(convert, _split_rows(x)), targets)
        files.finish(_describe_conversion(first, kept, self.scale))
        return files


def _size_and_time(file: Path) -> tuple[int, int]:
    """Return the size of a file and the time of its last change in nanoseconds."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def make_similar_data(
    own: DataModule, arrays: Mapping[str, np.ndarray], source: str, missing: Missing
) -> ArrayData:
    """Return other arrays as a data set of the same kind as that of a run, which is set up.

    Arguments:
        own: The data set of the run, which need not be loaded.
        arrays, source, missing: Those of ArrayData.
    """
    data = ArrayData(
        arrays,
        source,
        own.shape,
        binarize=own.binarize,
        batch_size=own.batch_size,
        seed=own.seed,
        dequantize=own.dequantize,
        scale=own.scale if isinstance(own, ArrayData) else None,
        kind=own.kind,
        missing=missing,
    )
    data.standardization = own.standardization
    data.setup()
    return data


def _check_reshape(shape: Sequence[int], stored: Sequence[int], path: str) -> None:
    """Refuse a shape with another number of values, or one that would mix channels and pixels."""
    mismatch = f"data.shape={list(shape)}, but x in {path} has shape {list(stored)}"
    if math.prod(shape) != math.prod(stored):
        raise UserError(f"{mismatch}: set data.shape=null to use the shape in the file")
    is_permuted = [edge for edge in shape if edge > 1] != [edge for edge in stored if edge > 1]
    if is_permuted and sorted(shape) == sorted(stored):  # a reshape does not move axes
        raise UserError(f"{mismatch}: {CHANNELS_FIRST_HINT} and set data.shape=null")


def _check_arrays(
    source: str, arrays: Mapping[str, Any], columns: Sequence[str], missing: Missing
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
        if name.startswith("x") and (len(array.shape) < 2 or 0 in array.shape[1:]):
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


def _check_names(source: str, arrays: Mapping[str, Any]) -> None:
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


def _locate_bad_values(name: str, array: Any, columns: Sequence[str]) -> str:
    """Say how many values cannot be used, in which row first, and in which columns of a table."""
    count, bad_rows, read, first = 0, 0, 0, None
    by_column = np.zeros(array.shape[1] if len(array.shape) == 2 else 0, int)
    for rows in _split_rows(array):
        bad = np.broadcast_to(
            ~_fits_float32(rows).reshape(-1, rows[:1].size), (len(rows), rows[:1].size)
        )
        if first is None and bad.any():
            first = read + int(bad.any(1).argmax())
        read += len(rows)
        count, bad_rows = count + int(bad.sum()), bad_rows + int(bad.any(1).sum())
        by_column += bad.sum(0) if len(by_column) else 0
    text = f" ({count} values in {bad_rows} of {len(array)} rows, the first in row {first}"
    worst = [int(column) for column in np.argsort(-by_column, kind="stable") if by_column[column]]
    named = [
        f"{by_column[column]} in "
        + (f"column {columns[column]}" if name[0] == "x" and columns else f"{name}[:, {column}]")
        for column in worst[:MAX_NAMED]
    ]
    if len(worst) > MAX_NAMED:
        named.append(f"others in {len(worst) - MAX_NAMED} more columns")
    return text + (f"; {', '.join(named)})" if named else ")")


def _check_same_scale(source: str, arrays: Mapping[str, Any]) -> None:
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
            low, high = (
                f"[{min(r.min() for r in _split_rows(x)):g}, "
                f"{max(r.max() for r in _split_rows(x)):g}]"
                for x in (train, other)
            )
            raise UserError(
                f"{source}: the standard deviation of x_train ({low}) is {ratio:.3g} times that of "
                f"{name} ({high}): save all splits with the same scale"
            )


def _compare_deviations(x: Any, y: Any) -> float:
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


def _choose_conversion(
    arrays: Mapping[str, Any], scale: float | None, kind: Kind
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what converts x, or a part of it, to the dtype in which it is kept.

    Binary values and 256 levels become uint8, and all others float32.

    Raises:
        UserError: If a value is not of the kind that the user names.
    """
    if kind != "auto":
        for name, x in arrays.items():
            for rows in _split_rows(x):
                check_values(name, rows, kind)
        return lambda x: x.astype(np.float32, copy=False)
    if scale == 255 and all(map(_is_levels, arrays.values())):
        return lambda x: x.astype(np.uint8, copy=False)
    if scale is not None:
        return partial(_divide, scale=scale)
    if all(map(_is_binary, arrays.values())):
        return lambda x: np.multiply(x, 255, dtype=np.uint8, casting="unsafe")
    if all(x.dtype == np.uint8 for x in arrays.values()):
        return lambda x: x
    return lambda x: x.astype(np.float32, copy=False)


def _is_binary(x: Any) -> bool:
    return all(((rows == 0) | (rows == 1)).all() for rows in _split_rows(x))


def _divide(x: np.ndarray, scale: float) -> np.ndarray:
    """Return x / scale, rounded once to float32."""
    divided = np.empty(x.shape, np.float32)
    for rows, kept in _split_rows(x, divided):
        kept[...] = rows.astype(np.float64) / scale
    return divided


def _is_levels(x: Any) -> bool:
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


def _split_rows(x: Any, *more: np.ndarray) -> Iterator[Any]:
    """Yield parts of an array, so that temporary copies of them are small.

    Arguments:
        more: Arrays with as many rows; with them, tuples of parts are yielded.
    """
    step = max(1, CHUNK_BYTES // max(1, x[:1].nbytes))
    for start in range(0, len(x), step):
        parts = tuple(each[start : start + step] for each in (x, *more))
        yield parts if more else parts[0]
