"""The base class of published images with known generative factors: dSprites, 3D Shapes, ..."""

import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vaelab.data.base import (
    Binarize,
    DataModule,
    Split,
    check_split_fractions,
    choose_subset,
    random_split,
)
from vaelab.data.published_files import check_md5
from vaelab.runtime.errors import UserError

CHUNK_IMAGES = 2048  # images that are read at once


class FactorImages(DataModule):
    """Images of which the generative factors are known, so that disentanglement can be evaluated.

    The labels (N, factors) are the values of the `factors`, as integers from 0. The images are read
    in chunks and kept in memory as uint8, one byte for each value. These sets have no published
    split: it is random, but always the same.

    Attributes:
        native_shape: The shape of the images in the files.
        has_binary_files: True if the files hold binary pixels.

    Arguments:
        root: The folder that contains the folder of the data set.
        shape: (C, side, side), with as many channels as the images have; other sides than that of
            the files are resized, antialiased. null = the shape in the files.
        images: The number of images, a random subset that is always the same; null = all.
        validation, test: The fractions of the images that are set aside.

    Raises:
        UserError: If an argument is out of range. `prepare_data` and `setup` raise it if a file is
            damaged.
        MissingFileError: From `prepare_data` and `setup`, if a file is missing.
    """

    native_shape: ClassVar[tuple[int, int, int]]
    has_binary_files: ClassVar[bool] = False

    def __init__(
        self,
        root: str,
        shape: Sequence[int] | None = None,
        images: int | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        shape = tuple(shape or self.native_shape)
        channels, side, _ = self.native_shape
        if len(shape) != 3 or shape[0] != channels or shape[1] != shape[2] or shape[1] < 1:
            raise UserError(
                f"data.shape={list(shape)}: these images are square and have {channels} channels; "
                f"set data.shape=[{channels},{side},{side}], or another side, to which they are "
                "resized"
            )
        self.is_binary = self.has_binary_files and shape == self.native_shape
        super().__init__(shape, binarize, batch_size, seed, dequantize)
        check_split_fractions(validation, test)
        if images is not None and images < 3:
            raise UserError(f"data.images={images}: it must be at least 3, or null for all images")
        self.root = root
        self.images = images
        self.fractions = (validation, test)

    @abstractmethod
    def find_files(self) -> dict[Path, str | None]:
        """Return the files and their MD5 hashes, None for a file without a published hash.

        Raises:
            MissingFileError: If a file is missing.
        """

    @abstractmethod
    def read_factors(self) -> Tensor:
        """Return the values of the factors (N, factors), integers from 0."""

    @abstractmethod
    def read_chunks(self) -> Iterator[np.ndarray]:
        """Yield all images in order, in chunks (n, C, H, W) of uint8."""

    def prepare_data(self) -> None:
        for path, md5 in self.find_files().items():
            if md5 is not None:
                check_md5(path, md5)

    def load(self) -> dict[str, Split]:
        factors = self.read_factors()
        count = len(factors)
        subset = torch.arange(count)
        if self.images is not None and self.images < count:
            subset = choose_subset(count, self.images)
            self.conversions = [f"a random subset of {count:,} images"]
        splits = self.choose_splits(subset)
        order = torch.cat(list(splits.values()))
        images = self.read_images(order, count)
        sizes = [len(index) for index in splits.values()]
        parts = zip(splits, images.split(sizes), factors[order].split(sizes), strict=True)
        return {name: Split(*part) for name, *part in parts}

    def choose_splits(self, subset: Tensor) -> dict[str, Tensor]:
        """Distribute the numbers of images in `subset` to the splits."""
        splits = random_split(len(subset), *self.fractions)
        return {name: subset[index] for name, index in splits.items()}

    def read_images(self, order: Tensor, count: int) -> Tensor:
        """Return the images with these numbers, in this order, of all `count` images of the files.

        Only one chunk is in memory besides the result.
        """
        places = torch.full((count,), -1)
        places[order] = torch.arange(len(order))
        images = torch.empty((len(order), *self.shape), dtype=torch.uint8)
        if self.shape != self.native_shape:
            edges = (f"{shape[2]}x{shape[1]}" for shape in (self.native_shape, self.shape))
            self.conversions = [*self.conversions, f"resized from {' to '.join(edges)}"]
        start = 0
        for chunk in self.read_chunks():
            place = places[start : start + len(chunk)]
            start += len(chunk)
            kept = torch.from_numpy(chunk)[place >= 0]
            if self.shape != self.native_shape and len(kept):
                kept = interpolate(kept, self.shape[1:], mode="bilinear", antialias=True)
            images[place[place >= 0]] = kept
        if start != count:
            raise UserError(f"the files of the images have {start:,} of {count:,} images")
        return images


def make_grid_factors(sizes: Sequence[int]) -> Tensor:
    """Return all combinations (N, factors) of the values of factors; the last one varies first.

    Arguments:
        sizes: The number of values of each factor.
    """
    return torch.cartesian_prod(*map(torch.arange, sizes))


def read_npz_rows(path: Path, name: str) -> Iterator[np.ndarray]:
    """Yield an array of an npz file in chunks of rows, without reading it as a whole.

    Raises:
        UserError: If the file has no such array, or no array of uint8.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, is_fortran, dtype = read_header(file)
            if dtype != np.uint8 or is_fortran:
                raise UserError(f"{name} must be uint8 in C order, but it is {dtype}")
            row = int(np.prod(shape[1:]))
            for start in range(0, shape[0], CHUNK_IMAGES):
                rows = min(CHUNK_IMAGES, shape[0] - start)
                content = bytearray(file.read(rows * row))
                yield np.frombuffer(content, np.uint8).reshape(rows, *shape[1:])
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): replace it with the original file"
        ) from error
