"""dSprites, binary images of three shapes with known factors: `data=dsprites`.

Reference: beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework
(Higgins et al., 2017); the files are those of Matthey et al. (2017).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaelab.data.factor_images import FactorImages, read_npz_rows
from vaelab.data.published_files import find_published_file

SOURCE = "https://github.com/google-deepmind/dsprites-dataset"
FILE_NAME = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"


class DSprites(FactorImages):
    """The 737,280 binary 64x64 images of dSprites, 3 GB in memory, from <root>/dsprites.

    The factors are the shape (square, ellipse, heart), 6 scales, 40 orientations and 32 positions
    in x and y. The color, which has one value, is left out. Metrics treat orientations as ordered,
    although the last is next to the first. The metadata of the file, a pickle, is not read. Images
    of other sides than 64 have 256 levels. The arguments are those of `FactorImages`.
    """

    licence = "dSprites: Google DeepMind, Apache licence 2.0"
    factors = ("shape", "scale", "orientation", "x", "y")
    unordered = ("shape",)
    native_shape = (1, 64, 64)
    has_binary_files = True
    md5 = "7da33b31b13a06f4b04a70402ce90c2e"

    def find_files(self) -> dict[Path, str | None]:
        return {find_published_file(self.root, "dsprites", (FILE_NAME,), SOURCE): self.md5}

    def read_factors(self) -> Tensor:
        (path,) = self.find_files()
        with np.load(path) as arrays:  # without pickles
            return torch.from_numpy(arrays["latents_classes"][:, 1:].astype(np.int64))

    def read_chunks(self) -> Iterator[np.ndarray]:
        (path,) = self.find_files()
        for rows in read_npz_rows(path, "imgs"):
            yield rows[:, None] * np.uint8(255)
