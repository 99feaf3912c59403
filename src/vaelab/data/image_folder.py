"""A folder of images of any size: `data=image_folder data.root=<folder>`."""

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from vaelab.data.base import Binarize, DataModule, Split, check_split_fractions
from vaelab.data.cache import CachedImages, open_cached
from vaelab.data.image_file import (
    RESIZE_FILTERS,
    Conversion,
    FileFacts,
    check_image_shape,
    check_link_stays_inside,
    choose_depth,
    inspect_file,
    read_file_bytes,
    read_image,
)
from vaelab.runtime.errors import MissingFileError, UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
PAGED_SUFFIXES = (".tif", ".tiff", ".gif", ".webp", ".png")
EXAMINED = 100  # files whose content is examined for the depth and for the description
SPLIT_FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


class ImageFolder(DataModule):
    """All images under a folder, of any size, grayscale or color, with sub-folders as labels.

    If every image lies in a sub-folder, `classes` holds the sorted names of the sub-folders and the
    labels are indices into it; otherwise the labels are (N, 0). A hash of an image's path decides
    whether it belongs to train, val or test, so new images do not move the others to another split.

    If there are sub-folders train and test, they are the split, and so is val (or valid, or
    validation). Nothing beside them is read, and the class folders lie inside them. Without a val
    folder, a part of train is used for validation.

    Images are decoded once, into a cache. Images with an EXIF orientation are rotated upright.
    Files and folders whose names begin with a dot are ignored.

    Arguments:
        root: The folder.
        shape: (3, height, width), (1, height, width) for grayscale, or (4, height, width) for color
            and alpha. The largest central part of each image with these proportions is resized to
            this shape.
        crop: The side of the central square that is cut out first; null = no crop.
        validation, test: The fractions of the images that are set aside.
        on_error: stop | skip (with a warning) at a file that cannot be read.
        cache: The folder of the decoded images; null = <root>/.vaelab-cache.
        depth: The bits that the values of 16-bit files use, 8 to 16; the upper 8 of these are kept.
            null = the smallest of 8, 10, 12, 14 and 16 that holds the largest value of EXAMINED
            files.
        background: What transparent images are laid over: white, black, grey or a gray level from 0
            to 255.
        pages: What becomes of files with several pages or frames: null refuses them, first takes
            their first page, and all makes each page an image of its own.
        resize: The filter with which images are resized: box, bilinear, bicubic or lanczos, from
            soft to sharp; all are antialiased.

    Raises:
        UserError: If an argument is out of range. `prepare_data` and `setup` raise it if a file
            cannot be read, if a link leads out of root, or if there are too few images to split.
        MissingFileError: If there is no folder root, or it has no images.
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
        augment: Sequence[str] = (),
        depth: int | None = None,
        background: str | int = "white",
        pages: Literal["first", "all"] | None = None,
        resize: str = "bilinear",
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize, augment=augment)
        check_image_shape(self.shape, crop, (1, 3, 4))
        check_split_fractions(validation, test)
        if on_error not in ("stop", "skip"):
            raise UserError(f"data.on_error={on_error}: choose from stop, skip")
        if depth is not None and not 8 <= depth <= 16:
            raise UserError(f"data.depth={depth}: it must be 8 to 16 bits, or null")
        if pages not in (None, "first", "all"):
            raise UserError(f"data.pages={pages}: choose from null, first, all")
        if resize not in RESIZE_FILTERS:
            raise UserError(f"data.resize={resize}: choose from {', '.join(RESIZE_FILTERS)}")
        self.depth, self.pages, self.resize = depth, pages, resize
        self.background = _parse_background(background)
        self.root = root
        self.crop = crop
        self.fractions = {"test": test, "val": validation}
        self.on_error = on_error
        self.cache = cache or str(Path(root, ".vaelab-cache"))
        self.classes: tuple[str, ...] = ()

    def prepare_data(self) -> None:
        _ = self._cached_images

    def load(self) -> dict[str, Split]:
        images, kept = self._cached_images
        self.conversions = list(self._describe_conversions())
        marked = list(zip(self._files, kept.tolist(), strict=True))
        self._warn_about_skipped([file.name for file, is_kept in marked if not is_kept])
        files = [file for file, is_kept in marked if is_kept]
        self.classes, labels = _label_by_folder(files)
        sizes = [sum(file.split == split for file in files) for split in SPLIT_FOLDERS]
        if not sizes[0] or not sizes[2]:
            raise UserError(
                f"{self.root} has {len(files)} images, of which {sizes[0]} are for training, "
                f"{sizes[1]} for validation and {sizes[2]} for testing, but training and testing "
                "need at least one: add images, or change data.validation or data.test"
            )
        parts = zip(images.split(sizes), labels.split(sizes), strict=True)
        return {split: Split(*part) for split, part in zip(SPLIT_FOLDERS, parts, strict=True)}

    @cached_property
    def _files(self) -> list["_ImageFile"]:
        """All image files: those of train, then val, then test, each sorted by name."""
        root = Path(self.root)
        if not root.is_dir():
            raise MissingFileError(
                f"data.root={root}: there is no such folder; set data.root to a folder of images"
            )
        files = [
            _ImageFile(
                above + name, _assign_split(name, split, fractions), _first_folder(name), page
            )
            for above, (split, fractions) in self._plan_split(root).items()
            for name in _list_images(root, above)
            for page in self._choose_pages(root / (above + name))
        ]
        if not files:
            raise MissingFileError(
                f"data.root={root} has no images ({' '.join(SUFFIXES)}): set data.root to a folder "
                "that has some"
            )
        return sorted(files, key=lambda file: (list(SPLIT_FOLDERS).index(file.split), file.name))

    def _choose_pages(self, path: Path) -> list[int | None]:
        """Return the pages of a file that are images."""
        if self.pages == "all" and path.name.lower().endswith(PAGED_SUFFIXES):
            with suppress(Exception):  # a damaged file is reported when it is decoded
                return list(inspect_file(read_file_bytes(str(path))).pages)
        return [0 if self.pages else None]

    @cached_property
    def _facts(self) -> list[FileFacts]:
        """What EXAMINED files contain, evenly spaced among all of them."""
        facts = []
        names = list(dict.fromkeys(file.name for file in self._files))
        for name in names[:: -(-len(names) // EXAMINED)]:
            with suppress(Exception):  # a damaged file is reported when it is decoded
                facts.append(inspect_file(read_file_bytes(f"{self.root}/{name}")))
        return facts

    @property
    def conversion(self) -> Conversion:
        """How the values of the files become 8-bit values."""
        largest = max((each.largest for each in self._facts if each.largest is not None), default=0)
        depth = self.depth or (choose_depth(largest) if largest else 16)
        return Conversion(depth, self.background, 0 if self.pages else None, self.resize)

    def _describe_conversions(self) -> Iterator[str]:
        """Yield sentences about what is converted in the examined files."""
        facts, (channels, height, width) = self._facts, self.shape
        if not facts:
            return
        examined = f"of {len(facts)} examined files"
        if deep := [each.largest for each in facts if each.largest is not None]:
            yield (
                f"{len(deep)} {examined} have 16 bits, of which {self.conversion.depth} are used "
                f"(largest value {max(deep)}) and 8 kept"
            )
        if count := sum(each.is_transparent for each in facts):
            became = "kept as fourth channel"
            if channels != 4:
                became = f"laid over gray level {self.background}"
            yield f"{count} {examined} are transparent, {became}"
        if count := sum(len(each.pages) > 1 for each in facts):
            kept = "each page is an image" if self.pages == "all" else "only the first is read"
            yield f"{count} {examined} have several pages, of which {kept}"
        if channels == 1 and (count := sum(each.is_color for each in facts)):
            yield f"{count} {examined} are in color, made grayscale"
        if channels > 1 and (count := sum(not each.is_color for each in facts)):
            yield f"{count} {examined} are grayscale, repeated in {min(channels, 3)} channels"
        sizes = sorted({each.size for each in facts})
        if sizes != [(width, height)]:
            span = " to ".join("x".join(map(str, size)) for size in sorted({sizes[0], sizes[-1]}))
            cut = "central part" if self.crop is None else f"central {self.crop} pixels"
            yield f"{cut} resized from {span} (width x height) to {width}x{height}"

    def _plan_split(self, root: Path) -> dict[str, tuple[str, dict[str, float]]]:
        """Return each folder to search, its split, and the fractions of it that go to others."""
        plan = {
            f"{folder}/": (split, {})
            for split, folders in SPLIT_FOLDERS.items()
            for folder in folders
            if (root / folder).is_dir()
        }
        splits = {split for split, _ in plan.values()}
        if not {"train", "test"} <= splits:
            return {"": ("train", self.fractions)}
        if "val" not in splits:
            plan["train/"] = "train", {"val": self.fractions["val"]}
        return plan

    @cached_property
    def _cached_images(self) -> CachedImages:
        """The decoded images, from the cache; the first time, they are decoded into it."""
        paths = [f"{self.root}/{file.name}" for file in self._files]
        instead = "replace it, or set data.on_error=skip"
        decode = partial(
            _read_page,
            read=read_file_bytes,
            shape=self.shape,
            crop=self.crop,
            instead=instead,
            conversion=self.conversion,
        )
        key = (
            self.crop,
            tuple(self.conversion),
            [
                (file.name, file.page, *_size_and_mtime(path))
                for file, path in zip(self._files, paths, strict=True)
            ],
        )
        items = [(path, file.page) for path, file in zip(paths, self._files, strict=True)]
        skip = self.on_error == "skip"
        return open_cached(self.cache, "image_folder", self.shape, items, decode, key, skip)

    def _warn_about_skipped(self, names: list[str]) -> None:
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            warnings.warn(
                f"{self.root}: skipped {len(names)} of {len(self._files)} files because they "
                f"cannot be read: {', '.join(names[:10])}{more}; set data.on_error=stop to see why",
                stacklevel=2,
            )


class _ImageFile(NamedTuple):
    """An image file: its path relative to the root, its split, its class, and the page to read."""

    name: str
    split: str
    label: str | None
    page: int | None


def _read_page(item: tuple[str, int | None], conversion: Conversion, **settings: Any) -> Tensor:
    """Read a page of an image file; see `read_image`."""
    path, page = item
    return read_image(path, conversion=conversion._replace(page=page), **settings)


def _parse_background(background: str | int) -> int:
    """Return the gray level of a background."""
    named = {"white": 255, "black": 0, "grey": 128, "gray": 128}
    level = named.get(background) if isinstance(background, str) else background
    if level is None or not 0 <= level <= 255:
        raise UserError(
            f"data.background={background}: choose white, black, grey or a number from 0 to 255"
        )
    return level


def _first_folder(name: str) -> str | None:
    """Return the first folder of a path, or None if it has none."""
    folder, slash, _ = name.partition("/")
    return folder if slash else None


def _list_images(root: Path, below: str) -> list[str]:
    """Return the paths of all images in root/below, relative to that folder.

    A folder that is reached twice through links is listed once.

    Raises:
        UserError: If a link leads out of root.
    """
    check_link_stays_inside(root / below, root)
    names, visited, pending = [], set(), [""]
    while pending:
        above = pending.pop()
        folder = Path(root, below, above)
        if (real := os.path.realpath(folder)) in visited:
            continue
        visited.add(real)
        with os.scandir(folder) as scan:
            entries = [entry for entry in scan if not entry.name.startswith(".")]
        for entry in entries:
            if entry.is_symlink():
                check_link_stays_inside(Path(entry.path), root)
        folders = (f"{above}{entry.name}/" for entry in entries if entry.is_dir())
        pending += sorted(folders, reverse=True)
        names += [
            f"{above}{entry.name}"
            for entry in entries
            if entry.name.lower().endswith(SUFFIXES) and not entry.is_dir()
        ]
    return names


def _assign_split(name: str, default: str, fractions: dict[str, float]) -> str:
    """Assign a file to a split by a hash of its name.

    Arguments:
        default: The split of the files that no fraction takes.
        fractions: The fraction of the files that goes to each other split.
    """
    position = int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:6], "big") / 2**48
    for split, fraction in fractions.items():
        if position < fraction:
            return split
        position -= fraction
    return default


def _label_by_folder(files: list[_ImageFile]) -> tuple[tuple[str, ...], Tensor]:
    """Return the class names and the labels (N,), or no classes and (N, 0) if a file has none."""
    names = [file.label for file in files if file.label is not None]
    if len(names) < len(files):
        return (), torch.zeros(len(files), 0, dtype=torch.int64)
    classes = tuple(sorted(set(names)))
    number = {name: i for i, name in enumerate(classes)}
    return classes, torch.tensor([number[name] for name in names], dtype=torch.int64)


def _size_and_mtime(path: str) -> tuple[int, int]:
    """Return the size of a file and the time of its last change in nanoseconds."""
    try:
        status = os.stat(path)
    except OSError:  # a broken link is reported when it is decoded
        return 0, 0
    return status.st_size, status.st_mtime_ns
