"""Faces of celebrities with 40 attributes: `data=celeba data.root=<folder>`.

Reference: Deep Learning Face Attributes in the Wild (Liu et al., 2015), arXiv:1411.7766
"""

import os
import stat
import zipfile
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaelab.data.base import Binarize, DataModule, Split
from vaelab.data.cache import open_cached
from vaelab.data.image_file import (
    check_image_shape,
    check_link,
    check_size,
    read_contents,
    read_image,
)

PICTURES, PARTITION, ATTRIBUTES = "img_align_celeba", "list_eval_partition", "list_attr_celeba"
AGAIN = "download it again"


class CelebA(DataModule):
    """202,599 aligned faces, 162,770 / 19,867 / 19,962 by the official partition.

    Labels are the attributes (N, 40) as 0 and 1, their names `attributes`. Files are read as
    published or as on Kaggle (csv), and the pictures from the folder or straight from the zip. They
    are decoded once, into a cache.

    Arguments:
        root: The folder that holds, itself or in celeba or CelebA, img_align_celeba (or .zip),
            list_eval_partition.txt (or .csv) and list_attr_celeba.txt (or .csv).
        shape: (3, height, width), or (1, height, width) for grey.
        crop: First cut the middle crop x crop pixels out of the 178x218; null = the largest part
            with the proportions of shape.
        cache: The folder of the decoded pictures; null = <root>/cache.
    """

    licence = "CelebA: the Chinese University of Hong Kong, for non-commercial research only"

    def __init__(
        self,
        root: str,
        shape: Sequence[int] = (3, 64, 64),
        crop: int | None = 140,
        cache: str | None = None,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize)
        check_image_shape(self.shape, crop)
        self.root = root
        self.crop = crop
        self.cache = cache or str(Path(root, "cache"))
        self.attributes: tuple[str, ...] = ()

    def prepare_data(self) -> None:
        _ = self._images

    def load(self) -> dict[str, Split]:
        self.attributes = self._faces.attributes
        sizes = self._faces.sizes
        parts = zip(self._images.split(sizes), self._faces.labels.split(sizes), strict=True)
        return {
            name: Split(*part) for name, part in zip(("train", "val", "test"), parts, strict=True)
        }

    @cached_property
    def _faces(self) -> "_Faces":
        return _found(self.root)

    @cached_property
    def _images(self) -> Tensor:
        names, source = self._faces.names, self._faces.source
        instead = f"download {source} again"
        decode = partial(
            read_image, read=source.read, shape=self.shape, crop=self.crop, instead=instead
        )
        key = (self.crop, source.key(names))
        return open_cached(self.cache, "celeba", self.shape, names, decode, key).images


class _Faces(NamedTuple):
    """The files of the three splits, one split after another, and what they show."""

    source: "_Folder | _Zip"
    names: list[str]
    sizes: list[int]
    attributes: tuple[str, ...]
    labels: Tensor


def _found(root: str) -> _Faces:
    source, partition, attributes = _files(Path(root))
    _, splits, values = _table(partition)
    split = {name: int(values[row, 0]) for name, row in splits.items()}
    if not set(split.values()) <= {0, 1, 2}:
        raise ValueError(f"{partition} says other than 0, 1 or 2: {AGAIN}")
    names = sorted(split, key=lambda name: (split[name], name))
    _check_holds(partition, names, source, source.names)
    columns, rows, values = _table(attributes)
    _check_holds(partition, names, attributes, rows)
    if len(columns) != values.shape[1]:
        raise ValueError(
            f"{attributes} names {len(columns)} attributes and has {values.shape[1]}: {AGAIN}"
        )
    labels = torch.from_numpy((values[[rows[name] for name in names]] > 0).astype(np.int64))
    sizes = [sum(part == i for part in split.values()) for i in range(3)]
    return _Faces(source, names, sizes, columns, labels)


def _files(root: Path) -> tuple["_Folder | _Zip", Path, Path]:
    """Pictures, partition and attributes, from the folder that has the most of them."""
    folders = {folder: _pieces(folder) for folder in (root / "celeba", root / "CelebA", root)}
    folder = max(folders, key=lambda folder: sum(piece is not None for piece in folders[folder]))
    pictures, partition, attributes = folders[folder]
    if pictures and partition and attributes:
        for path in (pictures, partition, attributes):
            check_link(path, root)
        return (_Folder if pictures.is_dir() else _Zip)(pictures), partition, attributes
    wanted = (
        f"{PICTURES}.zip (or the folder {PICTURES})",
        f"{PARTITION}.txt (or .csv)",
        f"{ATTRIBUTES}.txt (or .csv)",
    )
    missing = [file for file, piece in zip(wanted, folders[folder], strict=True) if not piece]
    raise FileNotFoundError(
        f"{folder} lacks {', '.join(missing)} of CelebA: put that there, or set data.root or "
        "VAELAB_DATA to the folder above"
    )


def _pieces(folder: Path) -> list[Path | None]:
    pictures = folder / PICTURES
    choices = (
        [pictures / PICTURES, pictures, folder / f"{PICTURES}.zip"],
        [folder / f"{PARTITION}.txt", folder / f"{PARTITION}.csv"],
        [folder / f"{ATTRIBUTES}.txt", folder / f"{ATTRIBUTES}.csv"],
    )
    return [next((path for path in paths if path.exists()), None) for paths in choices]


def _table(path: Path) -> tuple[tuple[str, ...], dict[str, int], np.ndarray]:
    """The names of the columns, the row of each file, and the numbers, of a txt or a csv."""
    try:
        text = path.read_text("utf-8-sig").replace(",", " ").replace('"', " ")
        lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
        if len(lines[0]) == 1:  # the number of files
            lines = lines[1:]
        columns = ()
        if not lines[0][1].split()[0].lstrip("-").isdigit():
            columns = tuple(name for name in " ".join(lines[0]).split() if name != "image_id")
            lines = lines[1:]
        if not lines:
            raise ValueError("it has no rows")
        values = np.loadtxt([line[1] for line in lines], np.int64, comments=None, ndmin=2)
    except (ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"{path} is no table of CelebA: {AGAIN}") from error
    rows = {line[0]: row for row, line in enumerate(lines)}
    if len(rows) < len(lines):
        raise ValueError(f"{path} names a picture twice: {AGAIN}")
    return columns, rows, values


def _check_holds(partition: Path, names: Sequence[str], other, held) -> None:
    if missing := [name for name in names if name not in held]:
        raise FileNotFoundError(
            f"{partition} names {len(missing)} pictures that {other} lacks, the first "
            f"{missing[0]}: download {other} again"
        )


class _Folder:
    """Pictures as files of a folder."""

    def __init__(self, path: Path):
        self.path = path
        with os.scandir(path) as entries:
            found = list(entries)
        for entry in found:
            if entry.is_symlink():
                check_link(Path(entry.path), path)
        self.names = {entry.name for entry in found}

    def __str__(self) -> str:
        return str(self.path)

    def key(self, names: Sequence[str]) -> list:
        status = ((name, os.stat(f"{self.path}/{name}")) for name in names)
        return [(name, file.st_size, file.st_mtime_ns) for name, file in status]

    def read(self, name: str) -> bytes:
        return read_contents(f"{self.path}/{name}")


class _Zip:
    """Pictures as members of a zip, found by the last part of their names, never extracted."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with zipfile.ZipFile(path) as file:
                members = file.infolist()
        except Exception as error:  # a damaged file may raise anything
            raise ValueError(f"{path} is no whole zip file: {AGAIN}") from error
        for member in members:
            if _climbs(member):
                raise ValueError(f"{path} holds {member.filename!r}, out of its folder: {AGAIN}")
        self.names = {PurePosixPath(x.filename).name: x for x in members}
        self.opened: tuple[int, zipfile.ZipFile] | None = None

    def __str__(self) -> str:
        return str(self.path)

    def key(self, names: Sequence[str]) -> tuple:
        status = os.stat(self.path)
        return status.st_size, status.st_mtime_ns, list(names)

    def read(self, name: str) -> bytes:
        if self.opened is None or self.opened[0] != os.getpid():
            # forked processes that shared the file would share, and move, its position
            self.opened = os.getpid(), zipfile.ZipFile(self.path)
        check_size(self.names[name].file_size)
        return self.opened[1].read(self.names[name])


def _climbs(member: zipfile.ZipInfo) -> bool:
    """Whether a member would lie, or is a link that may lead, outside the folder of its zip."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    linked = stat.S_ISLNK(member.external_attr >> 16)
    return path.is_absolute() or ".." in path.parts or ":" in str(path) or linked
