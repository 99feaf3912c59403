"""Columns of a table as arrays: numbers, words as one-hot columns, labels and factors as integers.

Words are arrays of objects, in which None is a missing cell. All other columns are numbers, in
which NaN is a missing cell.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from vaelab.runtime.errors import UserError, suggest

Categories = Literal["refuse", "onehot"]

MAX_LEVELS = 100  # different words in a column that becomes one-hot
MAX_FACTOR_VALUES = 1_000
MAX_NAMED = 20  # classes or columns in a sentence


def select_columns(
    source: str,
    names: Sequence[str],
    x: str | Sequence[str | int] | None,
    label: str | None,
    factors: Sequence[str],
) -> list[str]:
    """Return the names of the columns of x: those of `x`, or all but the label and the factors.

    Raises:
        UserError: If a column does not exist, or is used twice.
    """
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise UserError(f"{source}: several columns are called {twice[0]!r}: rename them")
    targets = [*([label] if label is not None else []), *factors]
    chosen = [x] if isinstance(x, str) else [str(name) for name in x or ()]
    for key, wanted in (("data.x", chosen), ("data.label or data.factors", targets)):
        for name in wanted:
            if name not in names:
                listed = ", ".join(names[:MAX_NAMED]) + ", ..." * (len(names) > MAX_NAMED)
                hint = suggest(name, names) or f"the columns are {listed}"
                raise UserError(f"{source}: {key} names {name!r}, which is no column: {hint}")
    if both := [name for name in chosen if name in targets]:
        raise UserError(f"{source}: the column {both[0]!r} is in data.x and is a label: choose one")
    chosen = chosen or [name for name in names if name not in targets]
    if not chosen:
        raise UserError(f"{source}: all columns are labels or factors, so none is left for x")
    return chosen


def find_levels(
    source: str, columns: Mapping[str, Iterable[Any]], categories: Categories
) -> dict[str, list[str]]:
    """Return the different words of each column of words, in alphabetical order.

    Arguments:
        columns: The columns of words of x; a missing cell is None or NaN.

    Raises:
        UserError: If words are refused, a cell is missing, or a column has too many words.
    """
    if categories not in ("refuse", "onehot"):
        raise UserError(f"data.categories={categories}: choose from refuse, onehot")
    if columns and categories == "refuse":
        raise UserError(
            f"{source}: columns without numbers: {_describe_words(columns)}: leave them out with "
            "data.x=[...], or set data.categories=onehot"
        )
    levels = {}
    for name, cells in columns.items():
        kept: set[str] = set()
        for row, cell in enumerate(cells):
            if is_missing(cell):
                raise UserError(
                    f"{source}: column {name} has no word in row {row} (counted from 0): remove "
                    "the row, or write a word that stands for a missing one"
                )
            kept.add(str(cell))
            if len(kept) > MAX_LEVELS:
                raise UserError(
                    f"{source}: column {name} has more than {MAX_LEVELS} different words, too many "
                    "for one-hot columns: leave it out of data.x"
                )
        levels[name] = sorted(kept)
    return levels


def _describe_words(columns: Mapping[str, Iterable[Any]]) -> str:
    """Name columns of words, each with the first cell that is no number."""
    named = []
    for name, cells in list(columns.items())[:MAX_NAMED]:
        found = next(
            ((row, cell) for row, cell in enumerate(cells) if not _is_number(cell)), (0, "")
        )
        named.append(f"{name} ({str(found[1])[:40]!r} in row {found[0]}, counted from 0)")
    return ", ".join(named) + ", ..." * (len(columns) > MAX_NAMED)


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return is_missing(cell)
    return True


def is_missing(cell: Any) -> bool:
    """True for None, NaN and the missing values of pandas."""
    return cell is None or cell != cell or str(cell) in ("<NA>", "NaT")


def name_columns(names: Iterable[str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of the columns of x, of which one-hot columns are called column=word."""
    return [
        each
        for name in names
        for each in ([f"{name}={word}" for word in levels[name]] if name in levels else [name])
    ]


def stack_columns(
    columns: Mapping[str, np.ndarray], levels: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """Return the columns side by side (N, D), with columns of words as one-hot columns.

    A column (N, D) of lists is taken as D columns; a single one keeps its dtype.
    """
    parts = []
    for name, column in columns.items():
        if name in levels:
            words = np.array([str(cell) for cell in column.tolist()], object)
            parts.append((words[:, None] == np.array(levels[name], object)).astype(np.uint8))
        else:
            parts.append(column if column.ndim > 1 else column[:, None])
    return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)


def number_labels(arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Replace names of classes by numbers in alphabetical order, the same ones in all splits.

    Arguments:
        arrays: Arrays by name, of which those that begin with y are labels.

    Returns:
        The arrays, and a sentence about the numbers if there are names.

    Raises:
        UserError: If a label is missing.
    """
    labels = {name: _read_names(name, y) for name, y in arrays.items() if name.startswith("y")}
    if not any(y.dtype.kind in "US" for y in labels.values()):
        return arrays | labels, []
    names = np.unique(np.concatenate([y.astype(str).ravel() for y in labels.values()]))
    numbered = {name: np.searchsorted(names, y.astype(str)) for name, y in labels.items()}
    return arrays | numbered, [f"labels are numbered: {_list_numbers(names)}"]


def _list_numbers(names: Sequence[Any] | np.ndarray) -> str:
    listed = ", ".join(f"{number} {name}" for number, name in enumerate(names[:MAX_NAMED]))
    return listed + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")


def _read_names(name: str, y: np.ndarray) -> np.ndarray:
    """Convert labels of objects to numbers, or else to texts; a missing label is an error."""
    if y.dtype.kind != "O":
        return y
    flat = y.ravel().tolist()
    absent = [row for row, each in enumerate(flat) if is_missing(each)]
    if absent:
        raise UserError(
            f"{name}: {len(absent)} of {len(flat)} labels are missing (the first in row "
            f"{absent[0]}, counted from 0): remove these rows, or label them"
        )
    is_number = all(isinstance(each, int | float | np.number) for each in flat)
    return np.array(flat if is_number else [str(each) for each in flat]).reshape(y.shape)


def number_factors(
    source: str, arrays: dict[str, np.ndarray], names: Sequence[str], unordered: Sequence[str]
) -> tuple[dict[str, np.ndarray], tuple[str, ...], list[str]]:
    """Replace the values of each factor by integers from 0, in ascending order.

    Arguments:
        arrays: Arrays by name, of which those that begin with y are factors (N, K).
        names: The names of the K factors.
        unordered: Those whose values have no order.

    Returns:
        The arrays, the unordered factors, which are also all factors of words, and sentences about
        the numbers of words.

    Raises:
        UserError: If names and factors do not fit each other, a value is missing, or a factor has
            too many values.
    """
    factors = {name: y.reshape(len(y), -1) for name, y in arrays.items() if name.startswith("y")}
    if other := [name for name in unordered if name not in names]:
        raise UserError(f"data.unordered names {other[0]}, which is not in data.factors")
    if not factors:
        raise UserError(f"{source} has no labels, which data.factors={list(names)} could name")
    for key, y in factors.items():
        if y.shape[1] != len(names):
            raise UserError(
                f"{source}: {key} has {y.shape[1]} columns, but data.factors={list(names)} names "
                f"{len(names)}: name each column"
            )
    numbered = {key: np.zeros(y.shape, np.int64) for key, y in factors.items()}
    sentences, without_order = [], []
    for column, name in enumerate(names):
        values = {key: _read_names(f"factor {name}", y[:, column]) for key, y in factors.items()}
        if any(v.dtype.kind == "f" and np.isnan(v).any() for v in values.values()):
            raise UserError(f"{source}: factor {name} has missing values: remove these rows")
        levels = np.unique(np.concatenate(list(values.values())))
        if len(levels) > MAX_FACTOR_VALUES:
            raise UserError(
                f"{source}: factor {name} has {len(levels):,} different values, but metrics of "
                f"disentanglement need few: divide it into at most {MAX_FACTOR_VALUES} bins"
            )
        for key, v in values.items():
            numbered[key][:, column] = np.searchsorted(levels, v)
        if levels.dtype.kind in "US":
            sentences.append(f"{name} is numbered: {_list_numbers(levels)}")
        if name in unordered or levels.dtype.kind in "US":
            without_order.append(name)
    return arrays | numbered, tuple(without_order), sentences
