"""`vaelab.make_data`: a data set of arrays, tensors, data frames and torch data sets."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from vaelab.data.arrays import ArrayData
from vaelab.data.base import Binarize, Missing
from vaelab.data.description import announce_data
from vaelab.runtime.errors import UserError

SPLITS = ("train", "val", "test")
MAX_NAMES = 20  # of classes in the description of a data set


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
    missing: Missing = "refuse",
    missing_fraction: float = 0.0,
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
        missing: refuse | mask. With mask, NaN in x marks a missing value; build the model with
            make_model(data.shape, missing=True).
        missing_fraction: The probability with which each value is deleted, to measure how well a
            model imputes; above 0 it implies missing="mask".

    Raises:
        UserError: If x or y cannot be used, if the fractions do not sum to 1, or if all training
            rows are equal.
    """
    columns = _name_columns(x, y)
    if isinstance(x, Mapping):
        if y is not None:
            raise UserError("y: with a dict of splits, give pairs: {'train': (x, y), ...}")
        arrays = _read_splits(x)
        validation = test = 0.1  # not used
    else:
        if len(splits) != 3 or not math.isclose(sum(splits), 1, abs_tol=1e-6):
            raise UserError(f"splits={splits}: give three fractions that sum to 1")
        _, validation, test = splits
        arrays = _name_arrays(*_read_rows(x, y))
    arrays, conversion = _number_labels(arrays)
    data = ArrayData(
        arrays,
        "make_data",
        validation=validation,
        test=test,
        binarize=binarize,
        batch_size=batch_size,
        seed=seed,
        dequantize=dequantize,
        scale=scale,
        columns=columns,
        missing=missing,
        missing_fraction=missing_fraction,
    )
    data.conversions += conversion
    data.setup()
    announce_data(data)
    return data


def _name_columns(x: Any, y: Any) -> list[str]:
    """Return the names of the columns of a data frame, without that of the labels."""
    if isinstance(x, Mapping):
        x = x["train"][0] if isinstance(x.get("train"), tuple) else x.get("train")
    names = getattr(x, "columns", ())
    return [str(name) for name in names if not (isinstance(y, str) and name == y)]


def _read_splits(splits: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not {"train", "test"} <= splits.keys() <= {*SPLITS}:
        raise UserError(
            f"x has the splits {', '.join(map(str, splits)) or 'none'}: give train and test, and "
            "val where there is one"
        )
    arrays: dict[str, np.ndarray] = {}
    for name in splits:
        pair = splits[name] if isinstance(splits[name], tuple) else (splits[name], None)
        arrays |= _name_arrays(*_read_rows(*pair), suffix=f"_{name}")
    if "val" not in splits:
        empty = {key.replace("test", "val"): arrays[key][:0] for key in arrays if "test" in key}
        arrays |= empty
    return arrays


def name_test_rows(x: Any, y: Any = None) -> dict[str, np.ndarray]:
    """Return the arrays of x and y with all rows in the test split, for an evaluation.

    A data set without training rows is refused elsewhere, so they are training rows as well.

    Raises:
        UserError: If the labels are names, whose numbers depend on all classes of the training.
    """
    rows, labels = _read_rows(x, y)
    arrays: dict[str, np.ndarray] = {}
    if labels is not None:
        labels, named = _number_labels({"y": labels})
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
    if hasattr(x, "columns") and hasattr(x, "to_numpy"):
        x, y = _split_frame(x, y)
    elif isinstance(x, Dataset):
        x, y = _read_dataset(x, y)
    x = _to_array(x)
    labels = None if y is None else _to_array(y)
    if labels is not None and labels.dtype.kind == "U" and isinstance(y, list | tuple):
        labels = np.asarray(y, object)  # so that NaN does not become the name "nan"
    return x, labels


def _split_frame(frame: Any, y: Any) -> tuple[Any, Any]:
    """Take the labels out of a data frame, and check that the other columns are numbers."""
    if isinstance(y, str):
        if y not in frame.columns:
            raise UserError(f"y={y}: the columns are {', '.join(map(str, frame.columns))}")
        frame, y = frame.drop(columns=y), frame[y]
    texts = [str(name) for name in frame.columns if frame[name].dtype.kind not in "buif"]
    if texts:
        raise UserError(f"columns without numbers: {', '.join(texts)}: drop or encode them")
    if any(isinstance(frame[name].dtype, np.dtype) is False for name in frame.columns):
        return frame.to_numpy(dtype=np.float64, na_value=np.nan), y
    return frame.to_numpy(), y


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


def _number_labels(arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Replace names of classes by numbers in alphabetical order, the same ones in all splits.

    Returns:
        The arrays, and a sentence about the numbers if there are names.
    """
    labels = {name: _read_names(name, y) for name, y in arrays.items() if name.startswith("y")}
    if not any(y.dtype.kind in "US" for y in labels.values()):
        return arrays | labels, []
    names = np.unique(np.concatenate([y.astype(str).ravel() for y in labels.values()]))
    numbered = {name: np.searchsorted(names, y.astype(str)) for name, y in labels.items()}
    listed = ", ".join(f"{number} {name}" for number, name in enumerate(names[:MAX_NAMES]))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return arrays | numbered, [f"labels are numbered: {listed}{more}"]


def _read_names(name: str, y: np.ndarray) -> np.ndarray:
    """Convert labels of objects to numbers, or else to texts; a missing label is an error."""
    if y.dtype.kind != "O":
        return y
    flat = y.ravel().tolist()
    missing = sum(each is None or each != each or str(each) == "<NA>" for each in flat)
    if missing:
        raise UserError(
            f"{name}: {missing} of {len(flat)} labels are missing: remove these rows, or label them"
        )
    is_number = all(isinstance(each, int | float | np.number) for each in flat)
    return np.array(flat if is_number else [str(each) for each in flat]).reshape(y.shape)
