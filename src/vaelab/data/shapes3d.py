"""3D Shapes, color images of a shape in a room with known factors: `data=shapes3d`.

Reference: Disentangling by Factorising (Kim and Mnih, 2018), arXiv:1802.05983
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelab.data.factor_images import CHUNK_IMAGES, FactorImages
from vaelab.data.published_files import find_published_file
from vaelab.runtime.errors import check_extra_installed

SOURCE = "https://github.com/google-deepmind/3d-shapes"


class Shapes3D(FactorImages):
    """The 480,000 color 64x64 images of 3D Shapes, 5.9 GB in memory, from <root>/3dshapes.

    The factors are the hue of floor, wall and object (10 each), 8 scales, 4 shapes and 15
    orientations. Metrics treat hues as ordered, although the last is next to the first. The file is
    read with h5py, which the extra `files` installs. The arguments are those of `FactorImages`.
    """

    licence = "3D Shapes: Google DeepMind, Apache licence 2.0"
    factors = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    unordered = ("shape",)
    native_shape = (3, 64, 64)
    md5 = "099a2078d58cec4daad0702c55d06868"

    def find_files(self) -> dict[Path, str | None]:
        check_extra_installed("files", "h5py")
        return {find_published_file(self.root, "3dshapes", ("3dshapes.h5",), SOURCE): self.md5}

    def read_factors(self) -> Tensor:
        import h5py

        (path,) = self.find_files()
        with h5py.File(path, "r") as file:
            values = np.asarray(file["labels"])
        ranks = [np.unique(column, return_inverse=True)[1] for column in values.T]
        return torch.from_numpy(np.stack(ranks, 1).astype(np.int64))

    def read_chunks(self) -> Iterator[np.ndarray]:
        import h5py

        (path,) = self.find_files()
        with h5py.File(path, "r") as file:
            images: Any = file["images"]
            for start in range(0, len(images), CHUNK_IMAGES):
                yield images[start : start + CHUNK_IMAGES].transpose(0, 3, 1, 2)
