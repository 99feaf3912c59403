"""Omniglot, handwritten characters of 50 alphabets: `data=omniglot`.

Reference: Human-level concept learning through probabilistic program induction (Lake et al., 2015)
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaelab.data.base import Binarize, DataModule, Split
from vaelab.data.published_files import check_md5, find_published_file
from vaelab.runtime.errors import UserError

SOURCE = "https://github.com/brendenlake/omniglot/tree/master/python"
SIDE = 105
DRAWINGS = 20  # of each character, each by another person
HELD_OUT = 2  # drawings of each character in the val split, and in the test split of source=small
ARCHIVES: dict[str, tuple[str, ...]] = {
    "full": ("images_background", "images_evaluation"),
    "small": ("images_background_small1", "images_background_small2"),
}


class Omniglot(DataModule):
    """Drawings of characters, white on black, at 105x105 pixels or resized.

    - source=full: the published split. The 19,280 drawings of images_background (964 characters of
      30 alphabets) are for training, of which 2 of the 20 drawings of each character are the val
      split, and the 13,180 of images_evaluation (659 characters of 20 other alphabets) for test.
    - source=small: the two small sets together without their common drawings (8 alphabets). They
      have no published split: of the 20 drawings of each character, 16 are for training, 2 for
      validation and 2 for test.

    The files have binary pixels at 105x105. Other sizes are resized, antialiased, and have 256
    levels. Published log-likelihoods of Omniglot are those of another file, and compare only with
    `data=omniglot_chardata`. The labels (N,) are the characters, and `classes` holds their names.

    Arguments:
        root: The folder that contains omniglot/images_background.zip and images_evaluation.zip (or,
            for small, images_background_small1.zip and images_background_small2.zip).
        source: full | small.
        shape: (1, side, side).

    Raises:
        UserError: If an argument is out of range. `prepare_data` raises it if a file is damaged.
        MissingFileError: From `prepare_data` and `setup`, if a file is missing.
    """

    features = "digits"
    licence = "Omniglot: Lake, Salakhutdinov and Tenenbaum, MIT licence"
    md5: ClassVar[Mapping[str, str]] = {
        "images_background": "68d2efa1b9178cc56df9314c21c6e718",
        "images_evaluation": "6b91aef0f799c5bb55b94e3f2daec811",
        "images_background_small1": "e704a628b5459e08445c13499850abc4",
        "images_background_small2": "b75a71a51d3b13f821f212756fe481fd",
    }

    def __init__(
        self,
        root: str,
        source: Literal["full", "small"] = "full",
        shape: Sequence[int] = (1, 28, 28),
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        if source not in ARCHIVES:
            raise UserError(f"data.source={source}: choose from {', '.join(ARCHIVES)}")
        if len(shape) != 3 or shape[0] != 1 or shape[1] != shape[2] or shape[1] < 1:
            raise UserError(
                f"data.shape={list(shape)}: the drawings are square and have one channel; set "
                f"data.shape=[1,28,28], or data.shape=[1,{SIDE},{SIDE}] for their own size"
            )
        self.is_binary = shape[1] == SIDE
        super().__init__(shape, binarize, batch_size, seed, dequantize)
        self.root = root
        self.source = source
        self.classes: tuple[str, ...] = ()

    def prepare_data(self) -> None:
        for name in ARCHIVES[self.source]:
            check_md5(self._find_archive(name), self.md5[name])

    def _find_archive(self, name: str) -> Path:
        return find_published_file(self.root, "omniglot", (f"{name}.zip",), SOURCE)

    def load(self) -> dict[str, Split]:
        drawings: dict[str, Tensor] = {}  # by alphabet/character/drawing.png
        tests: set[str] = set()
        for name in ARCHIVES[self.source]:
            found = _read_drawings(self._find_archive(name), self.shape[1])
            drawings |= found
            tests |= found.keys() if name == "images_evaluation" else set()
        characters = [name.rpartition("/")[0] for name in drawings]
        self.classes = tuple(sorted(set(characters)))
        number = {name: i for i, name in enumerate(self.classes)}
        labels = torch.tensor([number[name] for name in characters])
        images = torch.stack(list(drawings.values()))
        if not self.is_binary:
            self.conversions = [f"resized from {SIDE}x{SIDE} to {self.shape[2]}x{self.shape[1]}"]
        splits = [self._choose_split(name, name in tests) for name in drawings]
        return {
            split: Split(images[mask], labels[mask])
            for split in ("train", "val", "test")
            for mask in [torch.tensor([each == split for each in splits])]
        }

    def _choose_split(self, name: str, is_evaluation: bool) -> str:
        """Return the split of a drawing, whose number ends its name, as in 0108_20.png."""
        drawing = int(Path(name).stem.rpartition("_")[2])
        if self.source == "full":
            is_held_out = drawing > DRAWINGS - HELD_OUT
            return "test" if is_evaluation else "val" if is_held_out else "train"
        if drawing > DRAWINGS - HELD_OUT:
            return "test"
        return "val" if drawing > DRAWINGS - 2 * HELD_OUT else "train"


def _read_drawings(path: Path, side: int) -> dict[str, Tensor]:
    """Read all drawings of a zip file as uint8 (1, side, side), white on black, in sorted order."""
    drawings = {}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".png")):
            image = Image.open(io.BytesIO(archive.read(name)), formats=("PNG",)).convert("L")
            if image.size != (side, side):
                image = image.resize((side, side), Image.Resampling.BILINEAR)
            drawings[name.partition("/")[2]] = torch.from_numpy(255 - np.asarray(image))[None]
    return drawings
