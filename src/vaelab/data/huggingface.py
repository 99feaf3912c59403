"""A data set of images on the Hugging Face Hub or in a local folder: `data=huggingface`."""

import warnings
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import platformdirs
import torch
from torch import Tensor

from vaelab.data.base import (
    Binarize,
    DataModule,
    Split,
    check_split_fractions,
    random_split,
)
from vaelab.data.cache import open_cached
from vaelab.data.image_file import check_image_shape, read_image
from vaelab.runtime.errors import MissingFileError, UserError, check_extra_installed, suggest
from vaelab.runtime.private_api import get_dataset_fingerprint

HUB_TIMEOUT = 5.0  # seconds until the Hub counts as unreachable
SPLIT_NAMES = {"train": ("train",), "val": ("validation", "val", "valid", "dev"), "test": ("test",)}


class HuggingFace(DataModule):
    """The images of a data set that the library `datasets` can read, in parquet files or folders.

    Splits named train, validation (or val, valid, dev) and test are used as they are. Without a
    test or validation split, a random part of the training images, always the same, takes its
    place. Images are decoded once, into a cache, as those of `ImageFolder`. Scripts in a data set
    are never run.

    Arguments:
        path: The name of a data set on the Hub, as in ylecun/mnist, or a local folder.
        name: The configuration of the data set, if it has several.
        revision: The version on the Hub: a branch, a tag or a commit.
        image: The column of the images.
        label: The column of the labels, integers or classes; null = no labels.
        shape: (3, height, width), (1, height, width) for grayscale, or (4, height, width) for color
            and alpha. The largest central part of each image with these proportions is resized to
            this shape.
        crop: The side of the central square that is cut out first; null = no crop.
        validation, test: The fractions of the training images that are set aside, if the data set
            does not have these splits.
        cache: The folder of the decoded images; null = the cache folder of the user.

    Raises:
        UserError: If an argument is out of range. `prepare_data` and `setup` raise it if the data
            set or a column does not exist, if the Hub cannot be reached within 5 seconds, or if an
            image cannot be decoded.
        MissingExtraError: From `prepare_data` and `setup`, if `datasets` is not installed.
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        revision: str | None = None,
        image: str = "image",
        label: str | None = None,
        shape: Sequence[int] = (3, 64, 64),
        crop: int | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        cache: str | None = None,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
        augment: Sequence[str] = (),
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize, augment=augment)
        check_image_shape(self.shape, crop, channels=(1, 3, 4))
        check_split_fractions(validation, test)
        self.path = path
        self.configuration = name
        self.revision = revision
        self.image, self.label = image, label
        self.crop = crop
        self.fractions = {"val": validation, "test": test}
        self.cache = cache or str(platformdirs.user_cache_path("vaelab") / "huggingface")
        self.classes: tuple[str, ...] = ()

    def prepare_data(self) -> None:
        for source in self._sources.values():
            self._decode(source)

    def load(self) -> dict[str, Split]:
        loaded = {
            name: Split(self._decode(source), self._read_labels(source))
            for name, source in self._sources.items()
        }
        missing = {name: part for name, part in self.fractions.items() if name not in loaded}
        if missing:
            parts = random_split(
                len(loaded["train"].images), missing.get("val", 0.0), missing.get("test", 0.0)
            )
            whole = loaded["train"]
            for name in ("train", *missing):
                loaded[name] = Split(*(part[parts[name]] for part in whole))
            self.conversions = [f"{' and '.join(missing)} split off from the training images"]
        return {name: loaded[name] for name in ("train", "val", "test")}

    @cached_property
    def _sources(self) -> dict[str, Any]:
        """The splits that the data set has, with undecoded images."""
        import datasets

        found = self._open_splits()
        sources = {}
        for split, names in SPLIT_NAMES.items():
            if name := next((name for name in names if name in found), None):
                sources[split] = found[name]
        if "train" not in sources:
            raise UserError(
                f"data.path={self.path} has the splits {', '.join(found)}, but none is called "
                "train: rename one of them"
            )
        columns = sources["train"].column_names
        for key, column in (("image", self.image), ("label", self.label)):
            if column is not None and column not in columns:
                hint = (
                    suggest(column, columns, f"data.{key}=") or f"choose from {', '.join(columns)}"
                )
                raise UserError(f"data.{key}={column}: {self.path} has no such column; {hint}")
        image = datasets.Image(decode=False)
        try:
            return {name: part.cast_column(self.image, image) for name, part in sources.items()}
        except Exception as error:  # of pyarrow
            raise UserError(
                f"data.image={self.image} holds {sources['train'].features[self.image]}, which are "
                "no images: set data.image=<a column of images>"
            ) from error

    def _open_splits(self) -> Any:
        """Open the data set; its images are downloaded if they are not in the cache of `datasets`.

        Raises:
            UserError: If that is not possible.
        """
        check_extra_installed("huggingface", "datasets")
        import datasets

        if Path(self.path).is_dir():
            revision = None
        elif self.path.startswith((".", "/", "~")):
            raise MissingFileError(f"data.path={self.path}: there is no such folder")
        else:
            revision = self.revision
            self._check_hub()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return datasets.load_dataset(self.path, self.configuration, revision=revision)
        except Exception as error:  # datasets raises almost any exception
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise UserError(f"data.path={self.path} cannot be read ({reason})") from error

    def _check_hub(self) -> None:
        """Ask the Hub for the data set, once, so that a missing network costs seconds.

        With HF_HUB_OFFLINE=1 nothing is asked, and `datasets` reads its cache.
        """
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import RepositoryNotFoundError

        if constants.HF_HUB_OFFLINE:
            return
        try:
            HfApi().dataset_info(self.path, revision=self.revision, timeout=HUB_TIMEOUT)
        except RepositoryNotFoundError as error:
            raise UserError(
                f"data.path={self.path}: there is no such folder, and no such data set on the Hub "
                "that you have access to"
            ) from error
        except Exception as error:
            raise UserError(
                f"data.path={self.path} is no local folder, and the Hugging Face Hub cannot be "
                f"reached ({type(error).__name__}): set HF_HUB_OFFLINE=1 to use a copy that was "
                "downloaded before, or set data.path=<folder>"
            ) from error

    def _decode(self, source: Any) -> Tensor:
        """Return the images of a split, from the cache; the first time, they are decoded."""
        decode = partial(
            _read_row, source=source, column=self.image, shape=self.shape, crop=self.crop
        )
        key = (self.crop, self.image, get_dataset_fingerprint(source))
        return open_cached(
            self.cache, "huggingface", self.shape, range(len(source)), decode, key
        ).images

    def _read_labels(self, source: Any) -> Tensor:
        """Return the labels (N,) of a split, or (N, 0) without a column of labels."""
        if self.label is None:
            return torch.zeros(len(source), 0, dtype=torch.int64)
        feature, values = source.features[self.label], source[self.label][:]
        if names := getattr(feature, "names", None):
            self.classes = tuple(names)
        if not all(isinstance(value, int | float) for value in values):
            raise UserError(
                f"data.label={self.label} holds {feature}, but labels must be numbers or classes: "
                "set data.label=null, or choose another column"
            )
        return torch.tensor(values)


def _read_row(number: int, source: Any, column: str, shape: Sequence[int], crop: int | None):
    """Decode the image of a row."""
    row = source[number][column] or {}

    def read(_: str) -> bytes:
        if row.get("bytes") is not None:
            return row["bytes"]
        if row.get("path"):
            return Path(row["path"]).read_bytes()
        raise UserError("the row has no image")

    return read_image(f"row {number}", read, shape, crop, "remove it from the data set")
