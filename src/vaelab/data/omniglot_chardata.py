"""Omniglot in the file and split of the IWAE paper: `data=omniglot_chardata`.

Reference: Importance Weighted Autoencoders (Burda et al., 2016), arXiv:1509.00519
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat

from vaelab.data.base import Binarize, DataModule, Split
from vaelab.data.omniglot import Omniglot
from vaelab.data.published_files import (
    check_md5,
    check_padding,
    find_published_file,
    pad_images,
)
from vaelab.runtime.errors import UserError

SOURCE = "https://github.com/yburda/iwae/tree/master/datasets/OMNIGLOT"


class OmniglotChardata(DataModule):
    """The 24,345 + 8,070 drawings at 28x28 pixels of chardata.mat, as published with IWAE.

    Published log-likelihoods of Omniglot compare only with this file and `binarize="dynamic"`,
    which treats the pixels, real numbers in [0, 1], as probabilities. The last `validation`
    training images are the val split. The labels (N,) are the 50 alphabets.

    Arguments:
        root: The folder that contains omniglot/chardata.mat.
        shape: (1, 28, 28), or larger by an even number, which pads the images with black.
        validation: The number of training images set aside for validation; 0 = train on all.

    Raises:
        UserError: If an argument is out of range. `prepare_data` raises it if the file is damaged.
        MissingFileError: From `prepare_data` and `setup`, if the file is missing.
    """

    features = "digits"
    licence = Omniglot.licence
    md5 = "21ecaf34373511aa7691cf2e0802aa3d"

    def __init__(
        self,
        root: str,
        shape: Sequence[int] = (1, 28, 28),
        validation: int = 1_345,
        binarize: Binarize = "dynamic",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize)
        check_padding(self.shape, (1, 28, 28))
        self.root = root
        self.validation = validation

    def prepare_data(self) -> None:
        check_md5(self._find_file(), self.md5)

    def _find_file(self) -> Path:
        return find_published_file(self.root, "omniglot", ("chardata.mat",), SOURCE)

    def load(self) -> dict[str, Split]:
        arrays = loadmat(self._find_file())
        train, test = (
            self._make_split(arrays[f"{prefix}data"], arrays[f"{prefix}target"])
            for prefix in ("", "test")
        )
        cut = len(train.images) - self.validation
        if not 1 <= cut <= len(train.images):
            raise UserError(
                f"data.validation={self.validation}: set it to at least 0 and at most "
                f"{len(train.images) - 1}, so that a training image is left"
            )
        return {
            "train": Split(train.images[:cut], train.labels[:cut]),
            "val": Split(train.images[cut:], train.labels[cut:]),
            "test": test,
        }

    def _make_split(self, pixels: np.ndarray, one_hot: np.ndarray) -> Split:
        """Return the images of columns (784, N), which Matlab stores column by column."""
        columns = pixels.T.reshape(-1, 1, 28, 28).swapaxes(2, 3)
        images = torch.from_numpy(np.ascontiguousarray(columns, np.float32))
        return Split(pad_images(images, self.shape), torch.from_numpy(one_hot.argmax(0)).long())
