"""A cache of decoded images: a file of uint8 that is mapped into memory instead of being read.

The file holds the images (N, C, H, W) one after another, then one byte for every item that says
whether its image is in the file. The file's name contains a hash of everything that the content
depends on, so that changed settings or sources are decoded again. Files of other settings are kept;
the folder can be deleted at any time.

A build writes a separate `.part` file and renames it when it is complete. An interrupted build is
therefore never mistaken for a complete one, and of two simultaneous builds the last one wins.
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

from vaelab.runtime.errors import UserError
from vaelab.runtime.posix import count_usable_cores, is_process_running

FORMAT_VERSION = 1  # increase it when the same settings and sources give other bytes
SECONDS_PER_DAY = 24 * 60 * 60


class CachedImages(NamedTuple):
    """The decoded images and the items that they come from.

    Attributes:
        images: (M, C, H, W), uint8, of the M items that could be decoded.
        kept: (N,), bool; True for the items that could be decoded.
    """

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
    """Open the cache file of some images; the first time, decode them and write it.

    Arguments:
        folder: The folder of the cache file.
        name: The first part of the file's name.
        shape: The shape (C, H, W) of the images.
        items: The inputs of decode, at least one.
        decode: Returns the image of an item, uint8 (C, H, W), or raises a ValueError that names the
            item. It runs in several processes, so it and the items must be picklable.
        key: Everything besides shape that the images depend on; its repr goes into the file's name.
        skip: If true, leave out the items for which decode raises a ValueError; otherwise raise the
            first such error.

    Raises:
        UserError: If an item cannot be decoded, or if the cache file cannot be written.
    """
    settings = repr((FORMAT_VERSION, tuple(shape), len(items), key, skip))
    path = Path(folder, f"{name}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}.u8")
    while (cached := _map_cache_file(path, shape, len(items))) is None:
        _build_cache_file(path, name, math.prod(shape), items, decode, skip)
    return cached


def _map_cache_file(path: Path, shape: Sequence[int], count: int) -> CachedImages | None:
    """Map a cache file into memory; return None if it is missing or incomplete."""
    if not path.is_file() or (size := path.stat().st_size) < count:
        return None
    file = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    images, kept = file[:-count], file[-count:].bool()
    total = int(kept.sum())
    if len(images) != total * math.prod(shape):
        return None
    return CachedImages(images.view(total, *shape), kept)


def _build_cache_file(
    path: Path, name: str, pixels: int, items: Sequence, decode: Callable, skip: bool
) -> None:
    """Write the cache file through a `.part` file, which is deleted if anything fails."""
    part = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        with open(part, "w+b") as file:
            _write_cache_file(file, name, pixels, items, decode, skip)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UserError(
            f"the cache file {path} ({len(items) * pixels / 1e9:.3g} GB) cannot be written "
            f"({error.strerror or error}): free disk space, or set data.cache=<folder> to a folder "
            "that is writable and has room for it"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _write_cache_file(
    file: BinaryIO, name: str, pixels: int, items: Sequence, decode: Callable, skip: bool
) -> None:
    """Write every image at the position of its item, then close the gaps of skipped items."""
    chunks = _ChunkDecoder(file.name, pixels, items, decode)
    kept: list[bool] = []
    results = _decode_chunks(chunks)  # before tqdm starts its thread: a fork is unsafe then
    with tqdm(total=len(items), desc=f"decoding {name}", unit=" images") as bar:
        for result in results:
            if isinstance(result, OSError):
                raise result
            if any(result) and not skip:
                raise UserError(next(filter(None, result)))
            kept += [not reason for reason in result]
            bar.update(len(result))
    kept_items = (number for number, is_kept in enumerate(kept) if is_kept)
    for place, number in enumerate(kept_items):
        if place < number:
            file.seek(number * pixels)
            image = file.read(pixels)
            file.seek(place * pixels)
            file.write(image)
    file.seek(sum(kept) * pixels)
    file.write(bytes(kept))
    file.truncate()


def _decode_chunks(chunks: "_ChunkDecoder") -> Iterator[list[str] | OSError]:
    """Decode all chunks in worker processes and yield their results in order.

    Two processes decode 1.9 times as fast as one. Two threads, which compete for the interpreter
    lock, are only 1.2 times as fast. If there is only one chunk, no worker is started.
    """
    workers = min(count_usable_cores(), len(chunks), 16)
    if workers == 1 or multiprocessing.current_process().daemon:  # daemons cannot have children
        workers = 0
    # With a separate generator the loader does not advance torch's global random state, so that a
    # run that builds the cache samples the same numbers as a run that opens it.
    return iter(
        DataLoader(chunks, batch_size=None, num_workers=workers, generator=torch.Generator())
    )


class _ChunkDecoder(Dataset):
    """A dataset whose item i decodes chunk i, writes its images into the file, and reports errors.

    An item is a list with one string for each image: why it cannot be decoded, or "". A disk error
    is returned, not raised, because a DataLoader would turn it into a message of many lines.
    """

    def __init__(self, path: str, pixels: int, items: Sequence, decode: Callable):
        self.path, self.pixels, self.items, self.decode = path, pixels, items, decode
        self.size = max(1, min(64, 2**20 // pixels))

    def __len__(self) -> int:
        return -(-len(self.items) // self.size)

    def __getitem__(self, index: int) -> list[str] | OSError:
        images, reasons = [], []
        for item in self.items[index * self.size : (index + 1) * self.size]:
            try:
                images.append(self.decode(item).reshape(self.pixels).numpy().tobytes())
                reasons.append("")
            except ValueError as error:
                images.append(bytes(self.pixels))
                reasons.append(str(error))
        try:
            with open(self.path, "r+b") as file:
                file.seek(index * self.size * self.pixels)
                file.write(b"".join(images))
        except OSError as error:
            return error
        return reasons


def _remove_leftovers(folder: Path) -> None:
    """Delete the `.part` files of builds that are no longer running.

    A file of another machine is deleted when it was not modified for a day.
    """
    for part in folder.glob("*.u8.*.part"):
        node, _, process = part.stem.partition(".u8.")[2].rpartition(".")
        with suppress(OSError):
            is_local = node == platform.node() and process.isdigit()
            age = time.time() - part.stat().st_mtime
            is_own = process == str(os.getpid())
            if (
                (is_own or not is_process_running(int(process)))
                if is_local
                else age > SECONDS_PER_DAY
            ):
                part.unlink()
