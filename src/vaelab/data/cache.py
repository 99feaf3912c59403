"""Pictures decoded once, into a file of uint8 that is mapped into memory rather than read.

The file holds the pictures (N, C, H, W) one after another, then a byte for every item that says
whether it is among them. Its name holds a hash of all it depends on, so changed settings or sources
are decoded anew. Files of other settings are kept; the folder can be deleted at any time.

A build writes a `.part` file of its own and renames it when it is whole: an interrupted build is
never taken for a whole one, and of two builds at the same time the last wins.
"""

import hashlib
import math
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

FORMAT = 1  # raise it when the same settings and sources give other bytes
DAY = 24 * 60 * 60


class CachedImages(NamedTuple):
    """The images (M, C, H, W) of those items that could be decoded, and which they are, (N,)."""

    images: Tensor
    kept: Tensor


def open_cached(
    folder: str | Path,
    name: str,
    shape: Sequence[int],
    items: Sequence[Any],
    decode: Callable[[Any], Tensor],
    key: Any,
    skip: bool = False,
) -> CachedImages:
    """What `decode` makes of every item, from the cache file or, the first time, into it.

    Arguments:
        folder, name: Where the cache file lies and what its name begins with.
        shape: What decode returns, uint8 (C, H, W).
        items: At least one; what decode takes.
        decode: Raises a ValueError that names the item if it is no picture. It runs in several
            processes, so it and the items can be pickled.
        key: All that the pictures depend on besides shape; its repr goes into the file's name.
        skip: Leave out what decode refuses; otherwise the first refusal is raised.
    """
    settings = repr((FORMAT, tuple(shape), len(items), key, skip))
    path = Path(folder, f"{name}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}.u8")
    while (found := _opened(path, shape, len(items))) is None:
        _build(path, name, math.prod(shape), items, decode, skip)
    return found


def _opened(path: Path, shape: Sequence[int], count: int) -> CachedImages | None:
    """The file, mapped; None if there is none or it is not whole."""
    if not path.is_file() or (size := path.stat().st_size) < count:
        return None
    file = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    images, kept = file[:-count], file[-count:].bool()
    total = int(kept.sum())
    if len(images) != total * math.prod(shape):
        return None
    return CachedImages(images.view(total, *shape), kept)


def _build(
    path: Path, name: str, pixels: int, items: Sequence, decode: Callable, skip: bool
) -> None:
    part = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        with open(part, "w+b") as file:
            _write(file, name, pixels, items, decode, skip)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise ValueError(
            f"the cache {path} of {len(items) * pixels / 1e9:.3g} GB cannot be written "
            f"({error.strerror or error}): make room for it or set data.cache=<folder>"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _write(
    file: BinaryIO, name: str, pixels: int, items: Sequence, decode: Callable, skip: bool
) -> None:
    """Every picture at the place of its item; then those behind a refused one move forward."""
    chunks = _Chunks(file.name, pixels, items, decode)
    kept: list[bool] = []
    running = _running(chunks)  # before tqdm, whose thread a fork would not survive
    with tqdm(total=len(items), desc=f"decoding {name}", unit=" pictures") as bar:
        for refusals in running:
            if isinstance(refusals, OSError):
                raise refusals
            if any(refusals) and not skip:
                raise ValueError(next(filter(None, refusals)))
            kept += [not refusal for refusal in refusals]
            bar.update(len(refusals))
    for place, number in enumerate(number for number, keep in enumerate(kept) if keep):
        if place < number:
            file.seek(number * pixels)
            picture = file.read(pixels)
            file.seek(place * pixels)
            file.write(picture)
    file.seek(sum(kept) * pixels)
    file.write(bytes(kept))
    file.truncate()


def _running(chunks: "_Chunks") -> Iterator[list[str] | OSError]:
    """What becomes of chunk after chunk.

    Two processes decode 1.9 times as fast as one; two threads, which hand the interpreter's lock
    to and fro, 1.2 times. A few pictures are not worth a process.
    """
    workers = min(_cores(), len(chunks), 16)
    if workers == 1 or multiprocessing.current_process().daemon:  # a daemon has no children
        workers = 0
    # With a generator of its own the loader leaves torch's random state alone, so that the run
    # that builds the cache draws the same numbers as the next.
    return iter(
        DataLoader(chunks, batch_size=None, num_workers=workers, generator=torch.Generator())
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Chunks(Dataset):
    """Chunk after chunk is decoded into its place in the file by whichever process asks for it.

    An item is why each of the pictures was refused, or "". An error of the disk is a value too,
    because the exceptions of a loader's processes are many lines.
    """

    def __init__(self, path: str, pixels: int, items: Sequence, decode: Callable):
        self.path, self.pixels, self.items, self.decode = path, pixels, items, decode
        self.size = max(1, min(64, 2**20 // pixels))

    def __len__(self) -> int:
        return -(-len(self.items) // self.size)

    def __getitem__(self, index: int) -> list[str] | OSError:
        pictures, refusals = [], []
        for item in self.items[index * self.size : (index + 1) * self.size]:
            try:
                pictures.append(self.decode(item).reshape(self.pixels).numpy().tobytes())
                refusals.append("")
            except ValueError as error:
                pictures.append(bytes(self.pixels))
                refusals.append(str(error))
        try:
            with open(self.path, "r+b") as file:
                file.seek(index * self.size * self.pixels)
                file.write(b"".join(pictures))
        except OSError as error:
            return error
        return refusals


def _remove_leftovers(folder: Path) -> None:
    """Delete the part files of builds that are no longer running."""
    for part in folder.glob("*.u8.*.part"):
        node, _, process = part.stem.partition(".u8.")[2].rpartition(".")
        with suppress(OSError):
            here = node == platform.node() and process.isdigit()
            if not _runs(int(process)) if here else time.time() - part.stat().st_mtime > DAY:
                part.unlink()


def _runs(process: int) -> bool:
    """Whether another process of this number runs on this machine."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
