"""The kind of the values of an array: `data.kind=auto | real | count | [real,binary,...]`."""

from collections.abc import Sequence

import numpy as np

from vaelab.distributions.columns import parse_columns
from vaelab.distributions.counts import MAX_COUNT
from vaelab.runtime.errors import UserError

Kind = str | Sequence[str]


def check_kind(kind: Kind, scale: float | None, binarize: str) -> None:
    """Check the setting `data.kind`, and that no other setting changes the values.

    Raises:
        UserError: If it is neither auto, real or count, nor a list of the kinds of columns, or if
            it is not auto and the values are scaled or binarized.
    """
    if not isinstance(kind, str):
        parse_columns(kind)
    elif kind not in ("auto", "real", "count"):
        raise UserError(
            f"data.kind={kind}: choose from auto, real, count, or list the kind of each column, as "
            "in data.kind=[real,binary,categorical:3,count]"
        )
    if kind != "auto" and (scale is not None or binarize != "none"):
        change = f"data.binarize={binarize}" if scale is None else f"data.scale={scale:g}"
        raise UserError(f"data.kind={kind} keeps all values, but {change} changes them: set one")


def check_values(name: str, x: np.ndarray, kind: Kind) -> None:
    """Check that an array x (N, *shape) is of a kind.

    Arguments:
        name: The name of x, for messages.
        kind: real, count or the kinds of the columns of a table.

    Raises:
        UserError: If a value is not of its kind.
    """
    if isinstance(kind, str):
        if kind == "count":
            _check_column(name, "count", x)
        return
    parsed = parse_columns(kind)
    count = sum(len(columns) for _, columns in parsed)
    if x.ndim != 2 or x.shape[1] != count:
        raise UserError(
            f"data.kind lists {count} columns, but {name} has shape (N, "
            f"{', '.join(map(str, x.shape[1:]))}): name one kind for each column, and "
            "categorical:N for N one-hot columns"
        )
    for own, columns in parsed:
        _check_column(f"{name}[:, {columns[0]}]", own, x[:, columns])


def _check_column(name: str, kind: str, x: np.ndarray) -> None:
    """Refuse a column, or the one-hot columns of a category, with values of another kind.

    NaN stands for a missing value and is of any kind.
    """
    known = x[~np.isnan(x)]
    if kind == "count" and not ((known >= 0) & (known <= MAX_COUNT) & (known % 1 == 0)).all():
        wrong = known[(known < 0) | (known > MAX_COUNT) | (known % 1 != 0)][0]
        raise UserError(
            f"{name} holds {wrong:g}, but counts are whole numbers from 0 to 2^24: set the kind "
            "real, as in data.kind=real"
        )
    if kind in ("binary", "categorical") and not ((known == 0) | (known == 1)).all():
        wrong = known[(known != 0) & (known != 1)][0]
        raise UserError(f"{name} holds {wrong:g}, but its kind is {kind}: its values are 0 and 1")
    if kind == "categorical" and ((sums := x.sum(1))[~np.isnan(sums)] != 1).any():
        raise UserError(
            f"{name} and the other {x.shape[1] - 1} columns of its category are no one-hot "
            "vectors: each row must have a single 1"
        )
