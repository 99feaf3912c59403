"""MNIST, handwritten digits: `data=mnist`.

Reference: Gradient-based learning applied to document recognition (LeCun et al., 1998).
"""

import contextlib
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import pad
from torchvision import datasets

from vaelab.data.base import Binarize, DataModule, Split
from vaelab.runtime.errors import MissingFileError, UserError

MNIST_LICENCE = "MNIST: Yann LeCun and Corinna Cortes, CC BY-SA 3.0"


class MNIST(DataModule):
    """The 60,000 + 10,000 grayscale 28x28 images of digits, from <root>/MNIST/raw.

    Files that are not there are downloaded by torchvision. The last `validation` of the 60,000
    images are the val split, the others the train split. The labels are the classes, 0 to 9.

    Arguments:
        root: The folder that contains MNIST/raw/train-images-idx3-ubyte and the three other files,
            or into which they are downloaded.
        shape: (1, 28, 28), or larger by an even number, which pads the images with black.
        validation: The number of images set aside for validation; 0 = train on all 60,000.

    Raises:
        UserError: If an argument is out of range. `prepare_data` raises it if a file is damaged.
        MissingFileError: From `prepare_data`, if a file is missing and cannot be downloaded.
    """

    features: ClassVar[str] = "digits"
    licence = MNIST_LICENCE
    source: ClassVar[type[datasets.MNIST]] = datasets.MNIST
    md5: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }

    def __init__(
        self,
        root: str,
        shape: Sequence[int] = (1, 28, 28),
        validation: int = 10_000,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
        missing_fraction: float = 0.0,
    ):
        super().__init__(
            shape, binarize, batch_size, seed, dequantize, missing_fraction=missing_fraction
        )
        check_padding(self.shape, 28)
        if not validation >= 0:  # also refuses NaN
            raise UserError(f"data.validation={validation}: it must be at least 0")
        self.root = root
        self.validation = validation

    def prepare_data(self) -> None:
        folder = Path(self.root, self.source.__name__, "raw")
        if not all((folder / name).is_file() for name in self.md5):
            self._download(folder)
        for name, md5 in self.md5.items():
            if hashlib.md5((folder / name).read_bytes()).hexdigest() != md5:
                raise UserError(
                    f"{folder / name} is truncated or altered (its MD5 hash is not {md5}): delete "
                    "it, so that it is downloaded again, or replace it with the original file"
                )

    def _download(self, folder: Path) -> None:
        """Download the files; if that fails, delete the folders that it created."""
        new = [path for path in (folder, folder.parent, Path(self.root)) if not path.exists()]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self.source(self.root, download=True)
        except (OSError, RuntimeError) as error:
            for path in new:
                with contextlib.suppress(OSError):
                    path.rmdir()  # fails if the folder is not empty
            raise MissingFileError(
                f"{folder} does not have all of {', '.join(self.md5)}, and the download failed "
                f"({type(error).__name__}): put the four files there, or set data.root or "
                f"VAELAB_DATA to the folder that contains {self.source.__name__}/raw"
            ) from error

    def load(self) -> dict[str, Split]:
        train, test = (
            Split(pad_images(files.data[:, None], self.shape), files.targets)
            for files in (self.source(self.root, train=True), self.source(self.root, train=False))
        )
        cut = len(train.images) - self.validation
        if cut < 1:
            raise UserError(
                f"data.validation={self.validation} leaves none of the {len(train.images)} images "
                f"for training: set data.validation to at most {len(train.images) - 1}"
            )
        return {
            "train": Split(train.images[:cut], train.labels[:cut]),
            "val": Split(train.images[cut:], train.labels[cut:]),
            "test": test,
        }


def check_padding(shape: Sequence[int], side: int) -> None:
    """Check that grayscale images (1, side, side) can be padded evenly to `shape`.

    Raises:
        UserError: If they cannot.
    """
    borders = {(edge - side) / 2 for edge in shape[1:]}
    if len(shape) != 3 or shape[0] != 1 or any(n < 0 or n % 1 for n in borders):
        raise UserError(
            f"data.shape={list(shape)}, but these images have shape [1, {side}, {side}] and can "
            "only be padded by an even number of pixels: set "
            f"data.shape=[1,{side},{side}], or a larger one as in "
            f"data.shape=[1,{side + 4},{side + 4}]"
        )


def pad_images(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Pad images (N, 1, H, W) with black on all sides, to `shape`."""
    height, width = (
        (large - small) // 2 for large, small in zip(shape[1:], images.shape[2:], strict=True)
    )
    return pad(images, (width, width, height, height)) if height or width else images
