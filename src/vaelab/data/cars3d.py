"""Cars3D, color images of rendered cars with known factors: `data=cars3d`.

Reference: Deep Visual Analogy-Making (Reed et al., 2015)
"""

import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from torch import Tensor

from vaelab.data.factor_images import FactorImages, make_grid_factors
from vaelab.data.published_files import find_published_file
from vaelab.runtime.errors import MissingFileError

SOURCE = "http://www.scottreed.info"
ARCHIVE = "nips2015-analogy-data.tar.gz"
ELEVATIONS, AZIMUTHS = 4, 24


class Cars3D(FactorImages):
    """The 17,568 color images of 183 cars, 24 azimuths and 4 elevations, from <root>/cars3d.

    The files hold 128x128 pixels; papers use `shape=(3, 64, 64)`. They are read from the published
    archive, or from the files cars/car_*_mesh.mat that were unpacked from it. Only the archive has
    a published hash. Metrics treat azimuths as ordered, although the last is next to the first. The
    arguments are those of `FactorImages`.
    """

    licence = "Cars3D: Reed et al., no licence stated"
    factors = ("car", "azimuth", "elevation")
    unordered = ("car",)
    native_shape = (3, 128, 128)
    md5 = "4e866a7919c1beedf53964e6f7a23686"

    def find_files(self) -> dict[Path, str | None]:
        if unpacked := self._find_unpacked():
            return dict.fromkeys(unpacked)
        try:
            path = find_published_file(self.root, "cars3d", (ARCHIVE,), SOURCE)
        except MissingFileError as error:
            raise MissingFileError(f"{error}; or put cars/*.mat, unpacked from it, there") from None
        return {path: self.md5}

    def read_factors(self) -> Tensor:
        return make_grid_factors((sum(1 for _ in self._read_cars()), AZIMUTHS, ELEVATIONS))

    def read_chunks(self) -> Iterator[np.ndarray]:
        for content in self._read_cars():
            views = loadmat(content, variable_names=["im"])["im"]  # (H, W, C, azimuth, elevation)
            height, width, channels = views.shape[:3]
            views = views.transpose(3, 4, 2, 0, 1).reshape(-1, channels, height, width)
            yield np.ascontiguousarray(views)

    def _find_unpacked(self) -> list[Path]:
        folder = Path(self.root, "cars3d")
        found = (sorted(path.glob("car_*_mesh.mat")) for path in (folder / "cars", folder))
        return next(filter(None, found), [])

    def _read_cars(self) -> Iterator[Path | io.BytesIO]:
        """Yield the file of each car, in the order of their names."""
        files = list(self.find_files())
        if files[0].name != ARCHIVE:
            yield from files
            return
        with tarfile.open(files[0]) as archive:
            members = [each for each in archive if re.search(r"car_\d+_mesh\.mat$", each.name)]
            for member in sorted(members, key=lambda member: member.name):
                yield io.BytesIO(archive.extractfile(member).read())  # type: ignore[union-attr]
