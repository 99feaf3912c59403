"""`vaelab.make_data`: a data set of arrays, tensors, data frames and torch data sets."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from vaelab.data.arrays import ArrayData, Arrays
from vaelab.data.base import Binarize, Missing
from vaelab.data.columns import (
    Categories,
    find_levels,
    is_missing,
    name_columns,
    number_labels,
    select_columns,
    stack_columns,
)
from vaelab.data.description import announce_data
from vaelab.data.kinds import Kind
from vaelab.data.mapped import append_rows
from vaelab.runtime.errors import UserError

SPLITS = ("train", "val", "test")


def make_data(
    x: Any,
    y: Any = None,
    *,
    splits: Sequence[float] = (0.8, 0.1, 0.1),
    binarize: Binarize = "none",
    dequantize: bool = False,
    batch_size: int = 128,
    seed: int = 0,
    scale: float | None = None,
    kind: Kind = "auto",
    factors: Sequence[str] = (),
    unordered: Sequence[str] = (),
    categories: Categories = "refuse",
    standardize: bool = False,
    cache: str | Path | None = None,
    missing: Missing = "refuse",
    missing_fraction: float = 0.0,
    augment: Sequence[str] = (),
) -> ArrayData:
    """Make a data set of what is in memory, and print one line that describes it.

    Values that are all 0 or 1 become binary pixels, whatever their dtype. Other uint8 values are
    256 levels and are scaled to [0, 1]. All other values become float32 and are not scaled, unless
    `scale` is set.

    Arguments:
        x: An array or tensor (N, *shape), a data frame with N rows of numbers, or a torch data set
            with N items x or (x, y), whose items may be PIL images. A dict with the keys train, val
            and test gives the splits, each x or a pair (x, y); val may be missing. Images are
            (C, H, W).
        y: Labels (N,) or (N, attributes), numbers or names of classes; or the name of a column of
            the data frame. Names are numbered in alphabetical order.
        splits: The fractions of the rows for training, validation and testing. The rows of each are
            random, and always the same.
        binarize: none | dynamic | fixed, as in `vaelab.data.base.DataModule`.
        dequantize: Add uniform noise to 256 levels, so that they have a density.
        batch_size: Rows in one batch.
        seed: The seed of the order of the training rows.
        scale: The number by which x is divided; None = 1, and 255 for uint8. With 255, whole
            numbers from 0 to 255 of any dtype become 256 levels.
        kind: auto | real | count, or the kind of each column, see
            `vaelab.data.arrays.ArrayData`.
        factors: The names of the generative factors: columns of the data frame, or names for the
            columns of y (N, factors).
        unordered: The factors whose values have no order.
        categories: What becomes of columns of words in a data frame: refuse, or onehot.
        standardize: If true, the model sees x minus the mean of the training rows, divided by their
            standard deviation; samples and reconstructions are in the units of x.
        cache: The folder to which the items of a torch data set are written, if they are more than
            memory holds; an IterableDataset is read once. Files of an earlier data set in the
            folder are replaced.
        missing: refuse | mask. With mask, NaN in x marks a missing value; build the model with
            make_model(data.shape, missing=True).
        missing_fraction: The probability with which each value is deleted, to measure how well a
            model imputes; above 0 it implies missing="mask".
        augment: Random changes of training images: flip, crop, rotate, color.

    Raises:
        UserError: If x or y cannot be used, if the fractions do not sum to 1, or if all training
            rows are equal.
    """
    settings: dict[str, Any] = {
        **{"binarize": binarize, "batch_size": batch_size, "seed": seed, "dequantize": dequantize},
        **{"scale": scale, "factors": factors, "unordered": unordered, "standardize": standardize},
        **{"kind": kind, "missing": missing, "missing_fraction": missing_fraction},
        "augment": augment,
    }
    columns: Sequence[str] = ()
    conversion: list[str] = []
    if len(splits) != 3 or not math.isclose(sum(splits), 1, abs_tol=1e-6):
        raise UserError(f"splits={splits}: give three fractions that sum to 1")
    _, validation, test = splits
    if cache is not None:
        if y is not None or not isinstance(x, Dataset):
            raise UserError("cache: give a torch data set as x, whose items are x or (x, y)")
        folder = _write_items(x, Path(cache).expanduser())
        data = Arrays(str(folder), None, validation, test, mapped=True, **settings)
        return _announce(data)
    if isinstance(x, Mapping):
        if y is not None:
            raise UserError("y: with a dict of splits, give pairs: {'train': (x, y), ...}")
        arrays, columns, conversion = _read_splits(x, factors, categories)
    elif _is_frame(x):
        frames, columns, conversion = _read_frames({"": (x, y)}, factors, categories)
        arrays = _name_arrays(*frames[""])
    else:
        arrays = _name_arrays(*_read_rows(x, y))
    data = ArrayData(
        arrays,
        "make_data",
        validation=validation,
        test=test,
        columns=columns,
        **settings,
    )
    data.conversions += conversion
    return _announce(data)


def _announce(data: ArrayData) -> ArrayData:
    data.setup()
    announce_data(data)
    return data


def _is_frame(x: Any) -> bool:
    """True for a data frame of pandas, and for objects that are like one."""
    return hasattr(x, "columns") and hasattr(x, "to_numpy")


def _read_splits(
    splits: Mapping[str, Any], factors: Sequence[str], categories: Categories
) -> tuple[dict[str, np.ndarray], Sequence[str], list[str]]:
    """Return the arrays of a dict of splits, the names of the columns, and what was converted."""
    if not {"train", "test"} <= splits.keys() <= {*SPLITS}:
        raise UserError(
            f"x has the splits {', '.join(map(str, splits)) or 'none'}: give train and test, and "
            "val where there is one"
        )
    pairs = {
        name: each if isinstance(each, tuple) else (each, None) for name, each in splits.items()
    }
    columns: Sequence[str] = ()
    conversion: list[str] = []
    if all(_is_frame(x) for x, _ in pairs.values()):
        read, columns, conversion = _read_frames(pairs, factors, categories)
    else:
        read = {name: _read_rows(*pair) for name, pair in pairs.items()}
    arrays: dict[str, np.ndarray] = {}
    for name, rows in read.items():
        arrays |= _name_arrays(*rows, suffix=f"_{name}")
    if "val" not in splits:
        empty = {key.replace("test", "val"): arrays[key][:0] for key in arrays if "test" in key}
        arrays |= empty
    return arrays, columns, conversion


Labelled = tuple[np.ndarray, np.ndarray | None]


def _read_frames(
    pairs: Mapping[str, tuple[Any, Any]], factors: Sequence[str], categories: Categories
) -> tuple[dict[str, Labelled], Sequence[str], list[str]]:
    """Convert data frames and their labels to arrays, with the same columns for all of them.

    Returns:
        x and y of each frame, the names of the columns of x, and sentences about them.
    """
    first, target = next(iter(pairs.values()))
    names = [str(name) for name in first.columns]
    label = target if isinstance(target, str) else None
    if label is not None and label not in names:
        raise UserError(f"y={label}: the columns are {', '.join(names)}")
    are_columns = bool(factors) and target is None
    x = select_columns("x", names, None, label, factors if are_columns else ())
    tables = {split: _read_columns(frame, split, names) for split, (frame, _) in pairs.items()}
    dates = [name for name in x if next(iter(tables.values()))[name].dtype.kind in "mM"]
    if dates:
        raise UserError(f"columns without numbers: {', '.join(dates)}: drop them, they hold dates")
    words = [name for name in x if any(t[name].dtype.kind not in "buif" for t in tables.values())]
    if words and categories == "refuse":
        raise UserError(
            f"columns without numbers: {', '.join(words)}: drop them, or set categories='onehot'"
        )
    cells = {name: [cell for t in tables.values() for cell in t[name].tolist()] for name in words}
    levels = find_levels("x", cells, categories)
    read: dict[str, Labelled] = {}
    for split, (_, y) in pairs.items():
        table = tables[split]
        labels = table[label] if label is not None else y
        if are_columns:
            labels = np.empty((len(table[factors[0]]), len(factors)), object)
            for number, name in enumerate(factors):
                labels[:, number] = table[name].tolist()
        read[split] = stack_columns({n: table[n] for n in x}, levels), _to_labels(labels)
    sentences = [f"one-hot columns: {', '.join(levels)}"] if levels else []
    return read, name_columns(x, levels), sentences


def _read_columns(frame: Any, split: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the columns of a data frame: numbers with NaN, or objects with None."""
    if [str(name) for name in frame.columns] != list(names):
        raise UserError(f"x: the columns of {split} are not those of the first data frame")
    columns = {}
    for name, key in zip(names, frame.columns, strict=True):
        column = frame[key]
        if isinstance(column.dtype, np.dtype) and column.dtype.kind != "O":
            columns[name] = column.to_numpy()
        elif getattr(column.dtype, "kind", "O") in "buif":
            columns[name] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            cells = [None if is_missing(cell) else cell for cell in column.tolist()]
            columns[name] = np.array([*cells, None], object)[:-1]
    return columns


def name_test_rows(x: Any, y: Any = None) -> dict[str, np.ndarray]:
    """Return the arrays of x and y with all rows in the test split, for an evaluation.

    A data set without training rows is refused elsewhere, so they are training rows as well.

    Raises:
        UserError: If the labels are names, whose numbers depend on all classes of the training.
    """
    rows, labels = _read_rows(x, y)
    arrays: dict[str, np.ndarray] = {}
    if labels is not None:
        labels, named = number_labels({"y": labels})
        labels = labels["y"]
        if named:
            raise UserError(
                "y: names of classes cannot be numbered here, because some classes may be missing: "
                "give the numbers that make_data printed"
            )
    for suffix, end in (("_train", None), ("_val", 0), ("_test", None)):
        arrays |= _name_arrays(rows[:end], None if labels is None else labels[:end], suffix)
    return arrays


def _name_arrays(x: np.ndarray, y: np.ndarray | None, suffix: str = "") -> dict[str, np.ndarray]:
    return {f"x{suffix}": x} | ({} if y is None else {f"y{suffix}": y})


def _read_rows(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert x and y to arrays."""
    if _is_frame(x):
        return _read_frames({"": (x, y)}, (), "refuse")[0][""]
    if isinstance(x, Dataset):
        x, y = _read_dataset(x, y)
    return _to_array(x), _to_labels(y)


def _to_labels(y: Any) -> np.ndarray | None:
    """Convert labels to an array."""
    labels = None if y is None else _to_array(y)
    if labels is not None and labels.dtype.kind == "U" and isinstance(y, list | tuple):
        labels = np.asarray(y, object)  # so that NaN does not become the name "nan"
    return labels


def _read_dataset(dataset: Any, y: Any) -> tuple[Any, Any]:
    """Read all items of a torch data set, which are x or (x, y, ...)."""
    items = list(_iterate_items(dataset))
    if not items:
        raise UserError("x: the data set has no items")
    if not isinstance(items[0], tuple | list):
        return np.stack([_to_image(item) for item in items]), y
    if y is None and len(items[0]) > 1:
        y = np.stack([_to_array(item[1]) for item in items])
    return np.stack([_to_image(item[0]) for item in items]), y


def _write_items(dataset: Any, folder: Path) -> Path:
    """Write the items of a torch data set to x.npy, and their labels to y.npy, as they come."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "y.npy").unlink(missing_ok=True)
    labels: list[np.ndarray] = []

    def iterate_rows() -> Iterator[np.ndarray]:
        for item in _iterate_items(dataset):
            if isinstance(item, tuple | list):
                labels.extend(_to_array(y) for y in item[1:2])
                item = item[0]
            yield _to_image(item)

    append_rows(folder / "x.npy", iterate_rows())
    if labels:
        np.save(folder / "y.npy", np.stack(labels))
    return folder


def _iterate_items(dataset: Any) -> Iterable[Any]:
    if hasattr(dataset, "__len__"):
        return (dataset[number] for number in range(len(dataset)))
    return dataset


def _to_image(item: Any) -> np.ndarray:
    """Convert an item to an array; a PIL image becomes (C, H, W)."""
    array = _to_array(item)
    if not hasattr(item, "getbands"):
        return array
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _to_array(values: Any) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)
