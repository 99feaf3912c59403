"""Any folder of pictures: `data=image_folder data.root=<folder>`."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vaelab.data.base import Binarize, DataModule, Split, check_fractions
from vaelab.data.cache import CachedImages, open_cached
from vaelab.data.image_file import check_image_shape, check_link, read_contents, read_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


class ImageFolder(DataModule):
    """The pictures under a folder, of any size, grey or in colour; labels are its sub-folders.

    Where every picture lies in a sub-folder, the names of these are `classes` and the labels count
    them; otherwise labels are (N, 0). A hash of a picture's path decides whether it trains,
    validates or tests, so new pictures do not move the others. Sub-folders train and test (and
    val) are taken as the split, nothing beside them is read, and the classes are one level down;
    without val a part of train validates.

    Pictures are decoded once, into a cache. Transparent ones are laid over white, turned ones set
    upright, 16 bits reduced to their upper 8. Files and folders whose names begin with a dot are
    passed over.

    Arguments:
        shape: (3, height, width), or (1, height, width) for grey. Of each picture the largest
            part with these proportions, about its centre, is resized to this.
        crop: First cut out the middle crop x crop pixels; null = none.
        validation, test: The fractions that are set aside.
        on_error: stop | skip (with a warning) at a file that cannot be read.
        cache: The folder of the decoded pictures; null = <root>/.vaelab-cache.
    """

    def __init__(
        self,
        root: str,
        shape: Sequence[int] = (3, 64, 64),
        crop: int | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        on_error: Literal["stop", "skip"] = "stop",
        cache: str | None = None,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize)
        check_image_shape(self.shape, crop)
        check_fractions(validation, test)
        if on_error not in ("stop", "skip"):
            raise ValueError(f"data.on_error={on_error}: choose from stop, skip")
        self.root = root
        self.crop = crop
        self.fractions = {"test": test, "val": validation}
        self.on_error = on_error
        self.cache = cache or str(Path(root, ".vaelab-cache"))
        self.classes: tuple[str, ...] = ()

    def prepare_data(self) -> None:
        _ = self._cached

    def load(self) -> dict[str, Split]:
        images, kept = self._cached
        marked = list(zip(self._found, kept.tolist(), strict=True))
        self._warn_of_skipped([x.name for x, keep in marked if not keep])
        found = [x for x, keep in marked if keep]
        self.classes, labels = _labels(found)
        sizes = [sum(x.split == split for x in found) for split in FOLDERS]
        if not sizes[0] or not sizes[2]:
            raise ValueError(
                f"of {len(found)} pictures in {self.root} {sizes[0]} train, {sizes[1]} validate "
                f"and {sizes[2]} test: add pictures, or change data.validation or data.test"
            )
        parts = zip(images.split(sizes), labels.split(sizes), strict=True)
        return {split: Split(*part) for split, part in zip(FOLDERS, parts, strict=True)}

    @cached_property
    def _found(self) -> list["_Picture"]:
        """All pictures: those of train first, then val, then test, each in order of their names."""
        root = Path(self.root)
        if not root.is_dir():
            raise FileNotFoundError(f"data.root={root}: there is no such folder")
        found = [
            _Picture(above + name, _drawn(name, split, fractions), _folder(name))
            for above, (split, fractions) in self._plan(root).items()
            for name in _pictures(root, above)
        ]
        if not found:
            raise FileNotFoundError(
                f"data.root={root} holds no pictures ({' '.join(SUFFIXES)}): set data.root to a "
                "folder that does"
            )
        return sorted(found, key=lambda x: (list(FOLDERS).index(x.split), x.name))

    def _plan(self, root: Path) -> dict[str, tuple[str, dict[str, float]]]:
        """Each folder of pictures, its split, and the fractions that are drawn from it."""
        given = {
            f"{folder}/": (split, {})
            for split, folders in FOLDERS.items()
            for folder in folders
            if (root / folder).is_dir()
        }
        splits = {split for split, _ in given.values()}
        if not {"train", "test"} <= splits:
            return {"": ("train", self.fractions)}
        if "val" not in splits:
            given["train/"] = "train", {"val": self.fractions["val"]}
        return given

    @cached_property
    def _cached(self) -> CachedImages:
        paths = [f"{self.root}/{x.name}" for x in self._found]
        instead = "replace it, or set data.on_error=skip"
        decode = partial(
            read_image, read=read_contents, shape=self.shape, crop=self.crop, instead=instead
        )
        key = (
            self.crop,
            [(x.name, *_stamp(path)) for x, path in zip(self._found, paths, strict=True)],
        )
        skip = self.on_error == "skip"
        return open_cached(self.cache, "image_folder", self.shape, paths, decode, key, skip)

    def _warn_of_skipped(self, names: list[str]) -> None:
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            warnings.warn(
                f"{self.root}: left out {len(names)} of {len(self._found)} files, which cannot be "
                f"read: {', '.join(names[:10])}{more}; data.on_error=stop says why",
                stacklevel=2,
            )


class _Picture(NamedTuple):
    name: str
    split: str
    label: str | None


def _folder(name: str) -> str | None:
    """The first folder of a path."""
    folder, slash, _ = name.partition("/")
    return folder if slash else None


def _pictures(root: Path, below: str) -> list[str]:
    """The paths of all pictures in root/below, relative to that.

    A folder reached twice counts once, and a link that leads out of root is refused.
    """
    check_link(root / below, root)
    names, seen, left = [], set(), [""]
    while left:
        above = left.pop()
        folder = Path(root, below, above)
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in found:
            if entry.is_symlink():
                check_link(Path(entry.path), root)
        left += sorted((f"{above}{x.name}/" for x in found if x.is_dir()), reverse=True)
        names += [
            f"{above}{entry.name}"
            for entry in found
            if entry.name.lower().endswith(SUFFIXES) and not entry.is_dir()
        ]
    return names


def _drawn(name: str, otherwise: str, fractions: dict[str, float]) -> str:
    """A split that depends on nothing but the name."""
    chance = int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:6], "big") / 2**48
    for split, fraction in fractions.items():
        if chance < fraction:
            return split
        chance -= fraction
    return otherwise


def _labels(found: list[_Picture]) -> tuple[tuple[str, ...], Tensor]:
    names = [x.label for x in found if x.label is not None]
    if len(names) < len(found):
        return (), torch.zeros(len(found), 0, dtype=torch.int64)
    classes = tuple(sorted(set(names)))
    number = {name: i for i, name in enumerate(classes)}
    return classes, torch.tensor([number[name] for name in names], dtype=torch.int64)


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:  # a link that leads nowhere is reported when it is decoded
        return 0, 0
    return status.st_size, status.st_mtime_ns
