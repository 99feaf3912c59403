"""MPI3D, color images of an object on a robot arm with known factors: `data=mpi3d data.name=toy`.

Reference: On the Transfer of Inductive Bias from Simulation to the Real World: a New
Disentanglement Dataset (Gondal et al., 2019), arXiv:1906.03292
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from vaelab.data.base import Binarize
from vaelab.data.factor_images import FactorImages, make_grid_factors, read_npz_rows
from vaelab.data.published_files import find_published_file
from vaelab.runtime.errors import UserError

SOURCE = "https://github.com/rr-learning/disentanglement_dataset"


class MPI3D(FactorImages):
    """The 1,036,800 color 64x64 images of one of the three sets, 12.7 GB in memory.

    The factors are 6 colors, 6 shapes and 2 sizes of the object, 3 heights of the camera, 3 colors
    of the background, and 40 positions of each of the two axes of the arm.

    Arguments:
        root: The folder that contains mpi3d/mpi3d_toy.npz, mpi3d_realistic.npz or mpi3d_real.npz.
        name: toy (rendered) | realistic (rendered) | real (photographs).
        shape, images, validation, test: As in `FactorImages`.
    """

    licence = "MPI3D: Max Planck Institute for Intelligent Systems, CC BY 4.0"
    factors = (
        *("object_color", "object_shape", "object_size", "camera_height", "background_color"),
        *("horizontal_axis", "vertical_axis"),
    )
    unordered = ("object_color", "object_shape", "background_color")
    native_shape = (3, 64, 64)
    sizes: ClassVar[tuple[int, ...]] = (6, 6, 2, 3, 3, 40, 40)
    md5: ClassVar[Mapping[str, str]] = {
        "toy": "55889cb7c7dfc655d6e0277beee88868",
        "realistic": "59a6225b88b635365f70c91b3e52f70f",
        "real": "0f33f609918fb5c97996692f91129802",
    }

    def __init__(
        self,
        root: str,
        name: Literal["toy", "realistic", "real"] = "toy",
        shape: Sequence[int] | None = None,
        images: int | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        if name not in self.md5:
            raise UserError(f"data.name={name}: choose from {', '.join(self.md5)}")
        super().__init__(
            root, shape, images, validation, test, binarize, batch_size, seed, dequantize
        )
        self.variant = name

    def find_files(self) -> dict[Path, str | None]:
        file = f"mpi3d_{self.variant}.npz"
        return {find_published_file(self.root, "mpi3d", (file,), SOURCE): self.md5[self.variant]}

    def read_factors(self) -> Tensor:
        return make_grid_factors(self.sizes)

    def read_chunks(self) -> Iterator[np.ndarray]:
        (path,) = self.find_files()
        for rows in read_npz_rows(path, "images"):
            yield rows.transpose(0, 3, 1, 2)
