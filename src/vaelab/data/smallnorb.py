"""Small NORB, photographs of toys with known factors: `data=smallnorb`.

Reference: Learning Methods for Generic Object Recognition with Invariance to Pose and Lighting
(LeCun et al., 2004)
"""

import gzip
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vaelab.data.base import Binarize, random_split
from vaelab.data.factor_images import CHUNK_IMAGES, FactorImages
from vaelab.data.published_files import find_published_file
from vaelab.runtime.errors import UserError

SOURCE = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small"
PREFIXES = {
    "training": "smallnorb-5x46789x9x18x6x2x96x96-training",
    "testing": "smallnorb-5x01235x9x18x6x2x96x96-testing",
}
DTYPES = {0x1E3D4C54: np.dtype("<i4"), 0x1E3D4C55: np.dtype("u1")}  # by the first word of a file
MIN_WORDS = 3  # sizes in a header, even of a matrix with fewer dimensions


class SmallNORB(FactorImages):
    """The 24,300 + 24,300 grayscale 96x96 images of the left camera, from <root>/smallnorb.

    The factors are the category (animals, people, airplanes, trucks, cars), the instance (10 toys
    of each category), 9 elevations, 18 azimuths and 6 lightings. The published split has other
    instances for test (0, 1, 2, 3, 5) than for training (4, 6, 7, 8, 9). Only the compressed files
    (.gz) have a published hash.

    Arguments:
        root, shape, images: As in `FactorImages`.
        validation: The fraction of the training images that is set aside.
    """

    licence = "small NORB: New York University, for research only"
    factors = ("category", "instance", "elevation", "azimuth", "lighting")
    unordered = ("category", "instance", "lighting")
    native_shape = (1, 96, 96)
    md5: ClassVar[Mapping[str, str]] = {
        "training-dat": "66054832f9accfe74a0f4c36a75bc0a2",
        "training-cat": "23c8b86101fbf0904a000b43d3ed2fd9",
        "training-info": "51dee1210a742582ff607dfd94e332e3",
        "testing-dat": "e4ad715691ed5a3a5f138751a4ceb071",
        "testing-cat": "5aa791cd7e6016cf957ce9bdb93b8603",
        "testing-info": "a9454f3864d7fd4bb3ea7fc3eb84924e",
    }

    def __init__(
        self,
        root: str,
        shape: Sequence[int] | None = None,
        images: int | None = None,
        validation: float = 0.1,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__(
            root,
            shape,
            images,
            binarize=binarize,
            batch_size=batch_size,
            seed=seed,
            dequantize=dequantize,
        )
        if not 0 <= validation < 1:
            raise UserError(
                f"data.validation={validation} is a fraction of the training images: set it to at "
                "least 0 and below 1"
            )
        self.validation = validation

    def find_files(self) -> dict[Path, str | None]:
        files = {}
        for kind, md5 in self.md5.items():
            path = self._find_file(kind)
            files[path] = md5 if path.suffix == ".gz" else None
        return files

    def _find_file(self, kind: str) -> Path:
        part, _, content = kind.partition("-")
        name = f"{PREFIXES[part]}-{content}.mat"
        return find_published_file(self.root, "smallnorb", (name, f"{name}.gz"), SOURCE)

    def read_factors(self) -> Tensor:
        return torch.cat([self._read_part_factors(part) for part in PREFIXES])

    def _read_part_factors(self, part: str) -> Tensor:
        """Return the factors (N, 5) of the training or testing images."""
        (category,) = read_matrix(self._find_file(f"{part}-cat"), np.dtype("<i4"))
        (info,) = read_matrix(self._find_file(f"{part}-info"), np.dtype("<i4"))
        factors = np.concatenate([category[:, None], info], 1).astype(np.int64)
        factors[:, 3] //= 2  # the azimuths in the files are 0, 2, ..., 34
        return torch.from_numpy(factors)

    def read_chunks(self) -> Iterator[np.ndarray]:
        for part in PREFIXES:
            path = self._find_file(f"{part}-dat")
            for rows in read_matrix(path, np.dtype("u1"), CHUNK_IMAGES):
                yield rows[:, :1]  # of the two cameras

    def choose_splits(self, subset: Tensor) -> dict[str, Tensor]:
        is_test = subset >= len(self._read_part_factors("training"))
        train = subset[~is_test]
        parts = random_split(len(train), self.validation, 0)
        return {
            "train": train[parts["train"]],
            "val": train[parts["val"]],
            "test": subset[is_test],
        }


def read_matrix(path: Path, dtype: np.dtype, rows: int | None = None) -> Iterator[np.ndarray]:
    """Yield a matrix in the binary format of NORB in chunks of rows; None = as a whole.

    Raises:
        UserError: If the file has another format or type, or is truncated.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            magic, dimensions = struct.unpack("<ii", file.read(8))
            if DTYPES.get(magic) != dtype or not 1 <= dimensions <= 8:
                raise UserError(f"it does not begin as a matrix of {dtype}")
            words = max(MIN_WORDS, dimensions)
            shape = struct.unpack(f"<{words}i", file.read(4 * words))[:dimensions]
            for start in range(0, shape[0], rows or shape[0]):
                count = min(rows or shape[0], shape[0] - start)
                content = bytearray(file.read(count * math.prod(shape[1:]) * dtype.itemsize))
                yield np.frombuffer(content, dtype).reshape(count, *shape[1:])
    except (OSError, EOFError, struct.error, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): replace it with the original file"
        ) from error
