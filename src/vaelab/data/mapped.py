"""Arrays in files that are mapped into memory: only the page cache of the system holds them.

Converted rows are written once, to npy files whose names contain a hash of everything that they
depend on. A JSON file beside them, which is written last, says that they are complete.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from vaelab.runtime.errors import UserError
from vaelab.runtime.files import atomic_write

FORMAT_VERSION = 1  # increase it when the same key gives other bytes


def map_file(array: np.ndarray) -> Tensor:
    """Return the tensor of a memory-mapped array; what is written to it stays in memory."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


class MappedFiles:
    """The converted arrays of a key in a folder.

    Attributes:
        arrays: The mapped arrays by name, once `open` or `finish` was called.
        sentence: What was converted.

    Arguments:
        folder: The folder of the files.
        key: Everything that the arrays depend on; its repr goes into the names of the files.
    """

    def __init__(self, folder: Path, key: Any):
        self.folder = folder
        settings = repr((FORMAT_VERSION, key))
        self.stem = f"arrays-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"
        self.arrays: dict[str, Tensor] = {}
        self.names: list[str] = []
        self.sentence = ""

    def open(self) -> bool:
        """Map the files into memory; False if they are missing or incomplete."""
        try:
            record = json.loads((self.folder / f"{self.stem}.json").read_text(encoding="utf-8"))
            self.sentence = record["sentence"]
            self.arrays = {
                name: map_file(np.load(self._path(name), mmap_mode="c", allow_pickle=False))
                for name in record["names"]
            }
        except (OSError, ValueError, KeyError):
            return False
        return True

    def write(
        self,
        name: str,
        dtype: np.dtype,
        shape: Sequence[int],
        parts: Iterable[np.ndarray],
        targets: np.ndarray | None = None,
    ) -> None:
        """Write an array part by part.

        Arguments:
            parts: Consecutive rows.
            targets: The new position of each row; None keeps the order.

        Raises:
            UserError: If there is no room for the file.
        """
        path, size = self._path(name), int(np.prod(shape)) * dtype.itemsize
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
                np.lib.format.write_array_header_1_0(file, header | {"shape": tuple(shape)})
                _allocate(file.fileno(), file.tell() + size)
            if size:
                written, start = np.load(part, mmap_mode="r+"), 0
                for rows in parts:
                    stop = start + len(rows)
                    written[slice(start, stop) if targets is None else targets[start:stop]] = rows
                    start = stop
                written.flush()
            part.replace(path)
        except OSError as error:
            raise UserError(
                f"the file {path} ({size / 1e9:.3g} GB) cannot be written "
                f"({error.strerror or error}): free disk space, or set data.cache=<folder> to a "
                "folder that is writable and has room for it"
            ) from error
        finally:
            with suppress(OSError):
                part.unlink()
        self.names.append(name)

    def finish(self, sentence: str) -> None:
        """Record that all files are written, and map them into memory."""
        with atomic_write(self.folder / f"{self.stem}.json") as part:
            record = {"sentence": sentence, "names": self.names}
            part.write_text(json.dumps(record), encoding="utf-8")
        self.open()

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.stem}-{name}.npy"


def append_rows(path: Path, rows: Iterable[np.ndarray]) -> None:
    """Write rows of one shape and dtype, whose number is not known before, as an npy file.

    Raises:
        UserError: If there are no rows, they differ, or there is no room for them.
    """
    count, first = 0, None
    try:
        with atomic_write(path) as part, part.open("w+b") as file:
            for row in rows:
                row = np.ascontiguousarray(row)
                if first is None:
                    first = row
                    _write_header(file, 0, row)
                if (row.shape, row.dtype) != (first.shape, first.dtype):
                    raise UserError(
                        f"x: item {count} has shape {list(row.shape)} and dtype {row.dtype}, but "
                        f"the first has {list(first.shape)} and {first.dtype}: make them equal"
                    )
                file.write(row.tobytes())
                count += 1
            if first is None:
                raise UserError("x: the data set has no items")
            file.seek(0)
            _write_header(file, count, first)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}): free disk space, or give "
            "another folder as cache"
        ) from error


def _write_header(file: BinaryIO, count: int, row: np.ndarray) -> None:
    """Write a header of the same length for every count: numpy pads it for up to 21 digits."""
    header = {"descr": np.lib.format.dtype_to_descr(row.dtype), "fortran_order": False}
    np.lib.format.write_array_header_1_0(file, header | {"shape": (count, *row.shape)})


def make_scratch(folder: str | None, shape: Sequence[int]) -> Tensor:
    """Return an uninitialized uint8 tensor, in memory or in a file that vanishes with the process.

    Arguments:
        folder: The folder of the file; None for memory.
    """
    size = int(np.prod(shape))
    if folder is None or size == 0:
        return torch.empty(*shape, dtype=torch.uint8)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part") as file:
        _allocate(file.fileno(), size)
        return torch.from_numpy(np.memmap(file.name, np.uint8, "r+", shape=tuple(shape)))


def _allocate(file: int, size: int) -> None:
    """Give a file its size on the disk, because a write to a mapped file must not fail."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)
