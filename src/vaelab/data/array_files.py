"""Readers of files of numbers, one for each format, chosen by the ending of the file.

A file holds named arrays (npz, h5, a folder of npy files) or named columns (csv, tsv, parquet,
feather); an h5ad file holds both. A reader opens the file and returns x as an array whose rows can
be sliced, so that a file that is larger than memory is read in parts. Files may be untrusted:
nothing is unpickled, no other file is followed to, and a small file that would fill the memory is
refused.
"""

import re
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple, Protocol

import numpy as np

from vaelab.data.columns import (
    Categories,
    find_levels,
    name_columns,
    select_columns,
    stack_columns,
)
from vaelab.runtime.errors import MissingFileError, UserError, check_extra_installed

EXTRA = "files"
SPLIT_SUFFIXES = ("_train", "_val", "_test")
MAX_EXPANSION = 200  # of a compressed array; images of few grayscale values reach about 50
MAX_SPARSE_EXPANSION = 2_000  # of a sparse matrix, which does not store zeros
MIN_BOMB_BYTES = 2**28
MAX_NAMES = 20  # in a message


class Rows(Protocol):
    """An array of which only slices of rows are read: an ndarray, a memory map or a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Selection:
    """What of a file is x, what are labels, and what are factors; see `ArrayData`."""

    x: str | Sequence[str | int] | None = None
    label: str | None = None
    factors: Sequence[str] = ()
    categories: Categories = "refuse"


class FileContent(NamedTuple):
    """What was found in a file.

    Attributes:
        arrays: x and y, or x_train, y_train, ...: x as rows that may not have been read, y as
            arrays, of objects where they are words.
        columns: The names of the columns of x.
        ignored: The names of arrays that are not used.
        conversions: Sentences about what was converted.
    """

    arrays: dict[str, Any]
    columns: Sequence[str] = ()
    ignored: Sequence[str] = ()
    conversions: Sequence[str] = ()


def open_array_file(path: str, selection: Selection) -> FileContent:
    """Open a file, or a folder of npy files, with the reader of its ending.

    Raises:
        MissingFileError: If there is no such file, or the package that reads it is missing.
        UserError: If the file cannot be read, or lacks what is selected.
    """
    ending = Path(path).suffix.lower()
    if Path(path).is_dir():
        ending = ".npy"
    elif not Path(path).is_file():
        raise MissingFileError(
            f"data.path={path}: there is no such file; set data.path to a file "
            f"({', '.join(READERS)}), or to a folder of npy files"
        )
    if ending not in READERS:
        raise UserError(
            f"data.path={path}: the ending {ending or 'of the file'} is not known: save the file "
            f"as one of {', '.join(READERS)}"
        )
    return READERS[ending](path, selection)


def list_files(path: str) -> list[Path]:
    """Return the files that are read for a path."""
    return sorted(Path(path).glob("*.npy")) if Path(path).is_dir() else [Path(path)]


@contextmanager
def reading_file(path: str, kind: str, hint: str) -> Iterator[None]:
    """Turn what a library says about a damaged file into one line.

    Raises:
        UserError: If anything fails in the context.
    """
    try:
        yield
    except Exception as error:  # a damaged file can raise almost any exception
        if isinstance(error, UserError) and str(error).startswith(path):
            raise
        reason = shorten(" ".join(str(error).split()), 200) or type(error).__name__
        raise UserError(f"data.path={path} cannot be read as {kind} ({reason}): {hint}") from error


# Files of named arrays


def _select_arrays(
    path: str, names: Sequence[str], read: Callable[[str], Any], selection: Selection, hint: str
) -> FileContent:
    """Choose the arrays of x, labels and factors among those of a file.

    Arguments:
        read: Opens the array of a name.
        hint: How to write such a file.
    """
    if not (selection.x is None or isinstance(selection.x, str)):
        raise UserError(
            f"data.x={list(selection.x)}: {path} has no columns with names: name one array"
        )
    x, label = selection.x or "x", selection.label or "y"
    suffixes = ["", *SPLIT_SUFFIXES]
    arrays = {f"x{end}": read(f"{x}{end}") for end in suffixes if f"{x}{end}" in names}
    used = {f"{x}{end}" for end in suffixes}
    if "x" not in arrays and len(arrays) < 3:
        raise UserError(
            f"{path} has {', '.join(names[:MAX_NAMES]) or 'no arrays'}, but it must have {x}, or "
            f"{x}_train, {x}_val and {x}_test: {hint}"
        )
    ends = [name[1:] for name in arrays]
    factors = selection.factors
    if selection.label and not any(f"{label}{end}" in names for end in suffixes):
        raise UserError(
            f"data.label={label}: {path} has {', '.join(names[:MAX_NAMES])}: name one of them"
        )
    if factors and all(f"{name}{end}" in names for name in factors for end in ends):
        for end in ends:
            columns = [np.asarray(read(f"{name}{end}")[:]) for name in factors]
            arrays[f"y{end}"] = _stack_factors(path, factors, columns)
        used |= {f"{name}{end}" for name in factors for end in ends}
    else:
        arrays |= {
            f"y{end}": np.asarray(read(f"{label}{end}")[:])
            for end in suffixes
            if f"{label}{end}" in names
        }
        used |= {f"{label}{end}" for end in suffixes}
        if factors and not any(name.startswith("y") for name in arrays):
            raise UserError(
                f"data.factors={list(factors)}: {path} has {', '.join(names[:MAX_NAMES])}: name "
                "arrays of it, or the columns of its labels y"
            )
    return FileContent(arrays, ignored=[name for name in names if name not in used])


def _stack_factors(path: str, names: Sequence[str], columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return factors side by side, as objects so that words and numbers stay what they are."""
    lengths = {len(column) for column in columns}
    for name, column in zip(names, columns, strict=True):
        if column.ndim != 1 or len(lengths) > 1:
            raise UserError(
                f"{path}: the factor {name} has shape {list(column.shape)}, but each factor must "
                "have one value for each row"
            )
    stacked = np.empty((len(columns[0]), len(columns)), object)
    for number, column in enumerate(columns):
        stacked[:, number] = column.tolist()
    return stacked


def _read_npz(path: str, selection: Selection) -> FileContent:
    hint = "write it with numpy.savez(path, x=x)"
    with reading_file(path, "an npz file of numbers", hint):
        with zipfile.ZipFile(path) as file:
            for member in file.infolist():
                _check_expansion(path, member.filename, member.file_size, member.compress_size)
            if damaged := file.testzip():  # numpy checks only members that it reads to the end
                raise UserError(f"the checksum of {damaged} is wrong")
        with Path(path).open("rb") as file, np.load(file) as npz:
            return _select_arrays(path, npz.files, npz.__getitem__, selection, hint)


def _read_npy(path: str, selection: Selection) -> FileContent:
    """Map npy files into memory: x of a folder, or of a file, whose folder may hold labels."""
    folder, x = Path(path), selection.x
    if not folder.is_dir():
        if x is not None:
            raise UserError(f"data.x={x}: {path} has no names: leave out data.x")
        folder, x = folder.parent, folder.stem
    files = {file.stem: file for file in sorted(folder.glob("*.npy"))}

    def map_array(name: str) -> np.ndarray:
        with reading_file(path, "an npy file of numbers", "write it with numpy.save(path, x)"):
            try:
                return np.load(files[name], mmap_mode="c", allow_pickle=False)
            except ValueError as error:
                if "empty file" in str(error):  # an array without rows cannot be mapped
                    return np.load(files[name], allow_pickle=False)
                raise

    label = selection.label and selection.label.removesuffix(".npy")
    names = list(files)
    if not Path(path).is_dir():  # the other files of the folder are only used if they are named
        names = [name for name in files if name in (x, label, *selection.factors)]
    chosen = Selection(x, label, selection.factors)
    content = _select_arrays(path, names, map_array, chosen, "write it with numpy.save(path, x)")
    return content._replace(ignored=content.ignored if Path(path).is_dir() else ())


def _check_expansion(
    path: str, name: str, size: int, stored: int, most: int = MAX_EXPANSION
) -> None:
    """Refuse a small file that would fill the memory."""
    if size > max(MIN_BOMB_BYTES, most * stored):
        raise UserError(
            f"{path}: {name} expands from {stored:,} to {size:,} bytes: if you trust it, write it "
            "without compression"
        )


# HDF5


def _read_h5(path: str, selection: Selection) -> FileContent:
    h5py = _import_h5py()
    hint = "write it with h5py: file['x'] = x"
    with reading_file(path, "an HDF5 file of numbers", hint):
        file = h5py.File(path, "r")
        names = _list_datasets(file)
        return _select_arrays(path, names, partial(_open_dataset, path, file), selection, hint)


def _import_h5py() -> Any:
    check_extra_installed(EXTRA, "h5py")
    import h5py

    return h5py


def _list_datasets(group: Any, above: str = "", depth: int = 0) -> list[str]:
    """Return the paths of the datasets in a group; links to other files are not followed."""
    h5py, names = _import_h5py(), []
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink) or depth > 8:
            continue
        item = group[name]
        if isinstance(item, h5py.Dataset):
            names.append(above + name)
        else:
            names += _list_datasets(item, f"{above}{name}/", depth + 1)
    return names


def _open_dataset(path: str, file: Any, name: str) -> Any:
    """Open a dataset of numbers or words that lies in the file itself."""
    h5py, group = _import_h5py(), file
    for part in name.split("/")[:-1]:
        if isinstance(group.get(part, getlink=True), h5py.ExternalLink):
            raise UserError(
                f"{path}: {name} is a link to another file: copy the data into this one"
            )
        group = group[part]
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise UserError(f"{path}: {name} is a group: name a dataset in it, as in {name}/values")
    if dataset.external or dataset.is_virtual:
        raise UserError(f"{path}: {name} lies in another file: copy the data into this one")
    size = dataset.size * dataset.dtype.itemsize
    _check_expansion(path, name, size, dataset.id.get_storage_size())
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr()[:], object)
    return _H5Rows(dataset)


class _H5Rows:
    """A dataset, of which slices of rows are read; it is opened again where a copy needs it."""

    def __init__(self, dataset: Any):
        self.dataset = dataset
        self.shape, self.dtype = tuple(dataset.shape), dataset.dtype

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.dataset[rows] if self.shape else self.dataset[()]


def _read_h5ad(path: str, selection: Selection) -> FileContent:
    """Read X, or the matrix that data.x names, and columns of obs as label or factors."""
    h5py = _import_h5py()
    hint = "write it with anndata: adata.write_h5ad(path)"
    if not (selection.x is None or isinstance(selection.x, str)):
        raise UserError(f"data.x={list(selection.x)}: {path}: name one matrix, as in layers/counts")
    with reading_file(path, "an h5ad file", hint):
        file = h5py.File(path, "r")
        name = selection.x or "X"
        if name not in file:
            layers = ", ".join(["X", *(f"layers/{each}" for each in file.get("layers", ()))])
            raise UserError(f"{path} has no {name}: set data.x to one of {layers}")
        is_sparse = isinstance(file[name], h5py.Group)
        x = _open_sparse(path, file, name) if is_sparse else _open_dataset(path, file, name)
        columns: Sequence[str] = ()
        if "var" in file and not name.startswith("obsm"):
            index = file["var"].attrs.get("_index", "_index")
            columns = [str(each) for each in _open_dataset(path, file, f"var/{index}")[:]]
        wanted = [*([selection.label] if selection.label else []), *selection.factors]
        obs = [_read_obs_column(path, file, each) for each in wanted]
    arrays = {"x": x}
    if selection.factors:
        arrays["y"] = _stack_factors(path, selection.factors, obs[-len(selection.factors) :])
    elif obs:
        arrays["y"] = obs[0]
    return FileContent(arrays, columns)


def _read_obs_column(path: str, file: Any, name: str) -> np.ndarray:
    """Read a column of obs: numbers, words, or categories."""
    known = [each for each in file.get("obs", ()) if not each.startswith("_")]
    if name not in known:
        raise UserError(f"{path}: obs has no column {name!r}: it has {', '.join(known) or 'none'}")
    column = file["obs"][name]
    if isinstance(column, _import_h5py().Dataset):
        return np.asarray(_open_dataset(path, file, f"obs/{name}")[:])
    if not {"codes", "categories"} <= set(column):
        raise UserError(
            f"{path}: the column {name} of obs is neither numbers, words nor categories"
        )
    codes = np.asarray(_open_dataset(path, file, f"obs/{name}/codes")[:])
    words = _open_dataset(path, file, f"obs/{name}/categories")[:]
    if len(codes) and not -1 <= codes.min() <= codes.max() < len(words):
        raise UserError(f"{path}: the column {name} of obs has codes without a category")
    return np.array([*words.tolist(), None], object)[codes]  # code -1 is a missing value


def _open_sparse(path: str, file: Any, name: str) -> "_SparseRows":
    """Open a sparse matrix, whose rows become dense where they are read."""
    group = file[name]
    parts = {
        each: _open_dataset(path, file, f"{name}/{each}") for each in ("data", "indices", "indptr")
    }
    kind = str(group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "")))
    shape = group.attrs.get("shape", group.attrs.get("h5sparse_shape"))
    if kind[:3] not in ("csr", "csc") or shape is None or len(shape) != 2:
        raise UserError(f"{path}: {name} is neither a dense matrix nor a CSR or CSC matrix")
    rows, columns = (int(each) for each in shape)
    stored = sum(part.dataset.id.get_storage_size() for part in parts.values())
    size = rows * columns * parts["data"].dtype.itemsize
    _check_expansion(path, name, size, stored, MAX_SPARSE_EXPANSION)
    pointers = np.asarray(parts["indptr"][:], np.int64)
    lines = rows if kind.startswith("csr") else columns
    is_valid = len(pointers) == lines + 1 and pointers[0] == 0 and (np.diff(pointers) >= 0).all()
    if not is_valid or pointers[-1] != len(parts["data"]) or pointers[-1] != len(parts["indices"]):
        raise UserError(f"{path}: {name} is damaged: its indptr does not fit its data")
    data, indices = parts["data"], parts["indices"]
    if kind.startswith("csc"):  # rows need the whole matrix, but not its zeros
        from scipy.sparse import csc_matrix

        matrix = csc_matrix((data[:], indices[:], pointers), (rows, columns))
        matrix.check_format()
        matrix = matrix.tocsr()
        data, indices, pointers = matrix.data, matrix.indices, matrix.indptr
    return _SparseRows(data, indices, pointers, (rows, columns), f"{path}: {name}")


class _SparseRows:
    """A CSR matrix, of which slices of rows become dense."""

    def __init__(self, data: Any, indices: Any, pointers: np.ndarray, shape: Any, name: str):
        self.data, self.indices, self.pointers = data, indices, pointers
        self.shape, self.dtype, self.name = shape, data.dtype, name

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, step = rows.indices(len(self))
        stop = max(start, stop)
        low, high = int(self.pointers[start]), int(self.pointers[stop])
        dense = np.zeros((stop - start, self.shape[1]), self.dtype)
        columns = np.asarray(self.indices[low:high])
        if len(columns) and not 0 <= columns.min() <= columns.max() < self.shape[1]:
            raise UserError(f"{self.name} is damaged: it has indices beyond its columns")
        lines = np.arange(stop - start).repeat(np.diff(self.pointers[start : stop + 1]))
        dense[lines, columns] = self.data[low:high]
        return dense[::step]


# Tables


@dataclass
class _Table:
    """A table in parts, such as the row groups of a parquet file.

    Attributes:
        schema: The arrow schema.
        sizes: The rows of each part.
        read: Returns the columns of given names of a part.
    """

    schema: Any
    sizes: list[int]
    read: Callable[[int, list[str]], Any]
    conversions: list[str] = field(default_factory=list)


def _read_table(
    open_table: Callable[[str], _Table], path: str, selection: Selection
) -> FileContent:
    """Select columns of a table as x, label and factors."""
    check_extra_installed(EXTRA, "pyarrow")
    kind = f"a {Path(path).suffix[1:].lower()} file"
    with reading_file(path, kind, "see the message, or write it again"):
        table = open_table(path)
        names = [name for name in table.schema.names if not _is_row_number(table, name)]
        left_out = [name for name in table.schema.names if name not in names]
        x = select_columns(path, names, selection.x, selection.label, selection.factors)
        kinds = {name: _check_type(path, name, table.schema.field(name).type) for name in names}
        words = [name for name in x if kinds[name] == "words"]
        levels = find_levels(
            path,
            {name: _Cells(table, name) for name in words},
            selection.categories,
        )
        if bad := [name for name in x if kinds[name] == "other"]:
            raise UserError(
                f"{path}: columns without numbers or words: "
                + ", ".join(f"{name} ({table.schema.field(name).type})" for name in bad[:MAX_NAMES])
                + ": leave them out with data.x=[...]"
            )
        arrays: dict[str, Any] = {"x": _TableRows(table, x, levels)}
        if selection.factors:
            columns = [_read_column(table, name) for name in selection.factors]
            arrays["y"] = _stack_factors(path, selection.factors, columns)
        elif selection.label is not None:
            arrays["y"] = _read_column(table, selection.label)
    sentences = list(table.conversions)
    if left_out:
        sentences.append(
            f"columns that number the rows are left out: {', '.join(map(repr, left_out))}"
        )
    if levels:
        sentences.append(f"one-hot columns: {', '.join(levels)}")
    return FileContent(arrays, name_columns(x, levels), (), sentences)


def _is_row_number(table: _Table, name: str) -> bool:
    """True for the index of a data frame, which pandas writes as a column that counts the rows."""
    if name != "" and not re.fullmatch(r"__index_level_\d+__", name):
        return False
    column = _read_column(table, name)
    return bool((column == np.arange(len(column))).all())


def _check_type(path: str, name: str, kind: Any) -> str:
    """Return numbers, words or other for the type of a column."""
    from pyarrow import types

    if types.is_dictionary(kind) or types.is_string(kind) or types.is_large_string(kind):
        return "words"
    if types.is_string_view(kind):
        return "words"
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return "numbers" if is_number or types.is_null(kind) or types.is_decimal(kind) else "other"


def _to_numpy(name: str, column: Any) -> np.ndarray:
    """Convert a column of arrow to an array: NaN or None where a cell is missing."""
    import pyarrow as pa
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
        words = np.empty(len(column), object)
        words[:] = column.to_pylist()
        return words
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], kind)
        values = column.flatten().to_numpy(zero_copy_only=False)
        width = len(values) // max(1, len(column))
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        if len(column) and (lengths != width).any():
            row = int((lengths != width).argmax())
            raise UserError(
                f"column {name}: row {row} (counted from 0) has another length than others"
            )
        return values.reshape(len(column), width)
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    if types.is_decimal(kind):
        return column.cast(pa.float64()).to_numpy()
    if types.is_boolean(kind) and column.null_count:
        return column.cast(pa.uint8()).to_numpy().astype(np.float64)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        words = np.empty(len(column), object)
        words[:] = column.to_pylist()
        return words
    return column.to_numpy()


def _read_column(table: _Table, name: str) -> np.ndarray:
    """Read a whole column."""
    parts = [
        _to_numpy(name, table.read(number, [name]).column(name))
        for number in range(len(table.sizes))
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


class _Cells:
    """The cells of a column of words, part by part, as often as they are iterated."""

    def __init__(self, table: _Table, name: str):
        self.table, self.name = table, name

    def __iter__(self) -> Iterator[Any]:
        for number in range(len(self.table.sizes)):
            yield from self.table.read(number, [self.name]).column(self.name).to_pylist()


class _TableRows:
    """The columns of x side by side (N, D), of which slices are read part by part.

    The part that was read last is kept, since slices usually follow each other.
    """

    def __init__(self, table: _Table, names: list[str], levels: Mapping[str, Sequence[str]]):
        self.table, self.names, self.levels = table, names, levels
        self.starts = np.cumsum([0, *table.sizes]).tolist()
        self.kept: tuple[int, np.ndarray] | None = None
        first = self._read_part(0) if table.sizes else np.zeros((0, len(names)))
        self.shape, self.dtype = (self.starts[-1], *first.shape[1:]), first.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def _read_part(self, number: int) -> np.ndarray:
        if self.kept is None or self.kept[0] != number:
            self.kept = None  # free it before the next one is read
            part = self.table.read(number, self.names)
            columns = {name: _to_numpy(name, part.column(name)) for name in self.names}
            self.kept = number, stack_columns(columns, self.levels)
        return self.kept[1]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, step = rows.indices(len(self))
        pieces = [np.zeros((0, *self.shape[1:]), self.dtype)]
        number = bisect_right(self.starts, start) - 1
        while number < len(self.table.sizes) and self.starts[number] < stop:
            offset = self.starts[number]
            piece = self._read_part(number)[max(0, start - offset) : stop - offset]
            if piece.shape[1:] != self.shape[1:]:
                raise UserError("the lists of a column have different lengths")
            pieces.append(piece)
            number += 1
        pieces = [piece for piece in pieces if len(piece)] or pieces
        return (pieces[0] if len(pieces) == 1 else np.concatenate(pieces))[::step]


def _open_csv(path: str, delimiter: str = ",") -> _Table:
    import pyarrow.csv as arrow_csv

    with open(path, "rb") as file:
        head = file.read(2**16).partition(b"\n")[0].decode("utf-8", "replace").lstrip("\ufeff")
    names = [name.strip().strip('"') for name in head.strip().split(delimiter)]
    if len(names) == 1 and (other := next((c for c in ";\t,|" if c in head), None)):
        raise UserError(
            f"{path}: its values are separated by {other!r}, not by {delimiter!r}: write it with "
            f"{delimiter!r}" + (", or call it .tsv" if other == "\t" else "")
        )
    conversions = []
    has_names = not all(map(_is_number, names)) or names in (
        [str(number) for number in range(len(names))],
        [str(number + 1) for number in range(len(names))],
    )
    if not has_names:
        conversions.append("no line with names, so columns are called f0, f1, ...")
    table = arrow_csv.read_csv(
        path,
        arrow_csv.ReadOptions(autogenerate_column_names=not has_names),
        arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        arrow_csv.ConvertOptions(strings_can_be_null=True),
    )
    return _Table(
        table.schema, [table.num_rows], lambda _, chosen: table.select(chosen), conversions
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _open_tsv(path: str) -> _Table:
    return _open_csv(path, "\t")


def _open_parquet(path: str) -> _Table:
    import pyarrow.parquet as parquet
    from pyarrow import types

    schema = parquet.read_schema(path)
    texts = [
        each.name
        for each in schema
        if types.is_string(each.type) or types.is_large_string(each.type)
    ]
    file = parquet.ParquetFile(path, read_dictionary=texts, memory_map=True)
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    values = sum(group.column(n).num_values for group in groups for n in range(group.num_columns))
    _check_expansion(path, "the table", 8 * values, Path(path).stat().st_size)
    return _Table(
        file.schema_arrow,
        [group.num_rows for group in groups],
        lambda number, names: file.read_row_group(number, columns=names),
    )


def _open_feather(path: str) -> _Table:
    import pyarrow as pa

    file = pa.ipc.open_file(pa.memory_map(path))
    sizes = [file.get_batch(number).num_rows for number in range(file.num_record_batches)]
    return _Table(
        file.schema,
        sizes,
        lambda number, names: pa.Table.from_batches([file.get_batch(number).select(names)]),
    )


READERS: Mapping[str, Callable[[str, Selection], FileContent]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".csv": partial(_read_table, _open_csv),
    ".tsv": partial(_read_table, _open_tsv),
    ".parquet": partial(_read_table, _open_parquet),
    ".feather": partial(_read_table, _open_feather),
    ".h5": _read_h5,
    ".hdf5": _read_h5,
    ".h5ad": _read_h5ad,
}
