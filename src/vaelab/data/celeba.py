"""CelebA, faces of celebrities with 40 attributes: `data=celeba data.root=<folder>`.

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
    check_file_size,
    check_image_shape,
    check_link_stays_inside,
    read_file_bytes,
    read_image,
)
from vaelab.runtime.errors import MissingFileError, UserError

IMAGES_NAME, PARTITION_NAME = "img_align_celeba", "list_eval_partition"
ATTRIBUTES_NAME = "list_attr_celeba"
DOWNLOAD_AGAIN = "download it again"


class CelebA(DataModule):
    """The 202,599 aligned faces of CelebA, in its official split of 162,770 / 19,867 / 19,962.

    The labels (N, 40) are the attributes as 0 and 1; `attributes` holds their names. The partition
    and the attributes are read as published (txt) or as on Kaggle (csv), and the images from a
    folder or directly from the zip file. The images are decoded once, into a cache.

    Arguments:
        root: A folder that contains img_align_celeba (or img_align_celeba.zip),
            list_eval_partition.txt (or .csv) and list_attr_celeba.txt (or .csv), directly or in a
            sub-folder celeba or CelebA.
        shape: (3, height, width), or (1, height, width) for grayscale.
        crop: The side of the central square that is cut out of the 178x218 pixels first; null = the
            largest central part with the proportions of shape.
        cache: The folder of the decoded images; null = <root>/cache.

    Raises:
        UserError: If an argument is out of range. `prepare_data` and `setup` raise it if a file is
            damaged, or leads out of its folder.
        MissingFileError: From `prepare_data` and `setup`, if a file is missing.
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
        augment: Sequence[str] = (),
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize, augment=augment)
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
        cut = "central part" if self.crop is None else f"central {self.crop} pixels"
        self.conversions = [f"{cut} resized to {self.shape[2]}x{self.shape[1]} (width x height)"]
        parts = zip(self._images.split(sizes), self._faces.labels.split(sizes), strict=True)
        return {
            name: Split(*part) for name, part in zip(("train", "val", "test"), parts, strict=True)
        }

    @cached_property
    def _faces(self) -> "_FaceFiles":
        """The files and labels of all splits."""
        return _find_faces(self.root)

    @cached_property
    def _images(self) -> Tensor:
        """The images of all splits, from the cache; the first time, they are decoded into it."""
        names, source = self._faces.names, self._faces.source
        instead = f"download {source} again"
        decode = partial(
            read_image, read=source.read, shape=self.shape, crop=self.crop, instead=instead
        )
        key = (self.crop, source.key(names))
        return open_cached(self.cache, "celeba", self.shape, names, decode, key).images


class _FaceFiles(NamedTuple):
    """The image files of the three splits, one split after another, and their labels.

    Attributes:
        source: Where the files are read from.
        names: Their N names: those of train, then val, then test.
        sizes: The number of images in each split.
        attributes: The names of the attributes.
        labels: (N, attributes), 0 or 1.
    """

    source: "_FolderSource | _ZipSource"
    names: list[str]
    sizes: list[int]
    attributes: tuple[str, ...]
    labels: Tensor


def _find_faces(root: str) -> _FaceFiles:
    """Find the files of the data set, and read and check the partition and the attributes."""
    source, partition, attributes = _find_pieces(Path(root))
    _, partition_rows, values = _read_table(partition)
    split = {name: int(values[row, 0]) for name, row in partition_rows.items()}
    if wrong := set(split.values()) - {0, 1, 2}:
        raise UserError(
            f"{partition} has the split number {min(wrong)}, but only 0, 1 and 2 are valid: "
            f"{DOWNLOAD_AGAIN}"
        )
    names = sorted(split, key=lambda name: (split[name], name))
    _check_all_present(partition, names, source, source.names)
    columns, rows, values = _read_table(attributes)
    _check_all_present(partition, names, attributes, rows)
    if len(columns) != values.shape[1]:
        raise UserError(
            f"{attributes} has {len(columns)} attribute names, but {values.shape[1]} values in "
            f"each row: {DOWNLOAD_AGAIN}"
        )
    labels = torch.from_numpy((values[[rows[name] for name in names]] > 0).astype(np.int64))
    sizes = [sum(number == i for number in split.values()) for i in range(3)]
    return _FaceFiles(source, names, sizes, columns, labels)


def _find_pieces(root: Path) -> tuple["_FolderSource | _ZipSource", Path, Path]:
    """Find images, partition and attributes, in the folder that has the most of the three.

    Raises:
        MissingFileError: If that folder does not have all three.
        UserError: If one of them is a link that leads out of root.
    """
    folders = {folder: _pieces_in(folder) for folder in (root / "celeba", root / "CelebA", root)}
    folder = max(folders, key=lambda folder: sum(piece is not None for piece in folders[folder]))
    images, partition, attributes = folders[folder]
    if images and partition and attributes:
        for path in (images, partition, attributes):
            check_link_stays_inside(path, root)
        return (_FolderSource if images.is_dir() else _ZipSource)(images), partition, attributes
    needed = (
        f"{IMAGES_NAME}.zip (or the folder {IMAGES_NAME})",
        f"{PARTITION_NAME}.txt (or .csv)",
        f"{ATTRIBUTES_NAME}.txt (or .csv)",
    )
    missing = [file for file, piece in zip(needed, folders[folder], strict=True) if not piece]
    raise MissingFileError(
        f"the CelebA folder {folder} lacks {', '.join(missing)}: put the missing files there, or "
        "set data.root or VAELAB_DATA to the folder that contains celeba"
    )


def _pieces_in(folder: Path) -> list[Path | None]:
    """Return the paths of images, partition and attributes in a folder, None for a missing one."""
    images = folder / IMAGES_NAME
    candidates = (
        [images / IMAGES_NAME, images, folder / f"{IMAGES_NAME}.zip"],
        [folder / f"{PARTITION_NAME}.txt", folder / f"{PARTITION_NAME}.csv"],
        [folder / f"{ATTRIBUTES_NAME}.txt", folder / f"{ATTRIBUTES_NAME}.csv"],
    )
    return [next((path for path in paths if path.exists()), None) for paths in candidates]


def _read_table(path: Path) -> tuple[tuple[str, ...], dict[str, int], np.ndarray]:
    """Read a table of image files, from a txt or csv file.

    Returns:
        The names of the columns, the row number of each image file, and the values (rows, columns).
    """
    try:
        text = path.read_text("utf-8-sig").replace(",", " ").replace('"', " ")
        lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
        if len(lines[0]) == 1:  # the first line of the txt file is the number of images
            lines = lines[1:]
        columns = ()
        if not lines[0][1].split()[0].lstrip("-").isdigit():
            columns = tuple(name for name in " ".join(lines[0]).split() if name != "image_id")
            lines = lines[1:]
        if not lines:
            raise UserError("it has no rows")
        values = np.loadtxt([line[1] for line in lines], np.int64, comments=None, ndmin=2)
    except (ValueError, IndexError, OverflowError) as error:
        raise UserError(
            f"{path} cannot be read as a CelebA table of image names and numbers: {DOWNLOAD_AGAIN}"
        ) from error
    rows = {line[0]: row for row, line in enumerate(lines)}
    if len(rows) < len(lines):
        raise UserError(f"{path} lists an image twice: {DOWNLOAD_AGAIN}")
    return columns, rows, values


def _check_all_present(partition: Path, names: Sequence[str], other, available) -> None:
    """Refuse a partition with images that another part of the data set does not have.

    Arguments:
        partition: The partition file.
        names: The names of the images in it.
        other: The path or source of the other part.
        available: The names in that part.
    """
    if missing := [name for name in names if name not in available]:
        raise MissingFileError(
            f"{partition} lists {len(missing)} images that {other} lacks, the first of them "
            f"{missing[0]}: download {other} again"
        )


class _FolderSource:
    """Image files in a folder."""

    def __init__(self, path: Path):
        self.path = path
        with os.scandir(path) as scan:
            entries = list(scan)
        for entry in entries:
            if entry.is_symlink():
                check_link_stays_inside(Path(entry.path), path)
        self.names = {entry.name for entry in entries}

    def __str__(self) -> str:
        return str(self.path)

    def key(self, names: Sequence[str]) -> list:
        """Return the size and the modification time of each file, for the cache key."""
        status = ((name, os.stat(f"{self.path}/{name}")) for name in names)
        return [(name, file.st_size, file.st_mtime_ns) for name, file in status]

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return read_file_bytes(f"{self.path}/{name}")


class _ZipSource:
    """Image files in a zip file, by the last part of their paths; they are never extracted."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with zipfile.ZipFile(path) as file:
                members = file.infolist()
        except Exception as error:  # a damaged file can raise almost any exception
            raise UserError(f"{path} is not a complete zip file: {DOWNLOAD_AGAIN}") from error
        for member in members:
            if _leads_outside(member):
                raise UserError(
                    f"{path} has the member {member.filename!r}, which leads out of its folder: "
                    f"{DOWNLOAD_AGAIN}"
                )
        self.names = {PurePosixPath(x.filename).name: x for x in members}
        self.opened: tuple[int, zipfile.ZipFile] | None = None

    def __str__(self) -> str:
        return str(self.path)

    def key(self, names: Sequence[str]) -> tuple:
        """Return the size and the modification time of the zip file, and the names."""
        status = os.stat(self.path)
        return status.st_size, status.st_mtime_ns, list(names)

    def read(self, name: str) -> bytes:
        """Return the content of a member."""
        if self.opened is None or self.opened[0] != os.getpid():
            # Forked processes that share an open file also share its position.
            self.opened = os.getpid(), zipfile.ZipFile(self.path)
        check_file_size(self.names[name].file_size)
        return self.opened[1].read(self.names[name])


def _leads_outside(member: zipfile.ZipInfo) -> bool:
    """True if a zip member could be extracted outside the zip's folder, or is a symbolic link."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    return path.is_absolute() or ".." in path.parts or ":" in str(path) or is_link
