"""Handwritten digits: `data=mnist`.

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

LICENCE = "MNIST: Yann LeCun and Corinna Cortes, CC BY-SA 3.0"


class MNIST(DataModule):
    """60,000 and 10,000 digits of 28x28, from torchvision's download or from files in `root`.

    The last `validation` of the 60,000 validate, the others train; the labels are the digits.

    Arguments:
        root: The folder that holds MNIST/raw/train-images-idx3-ubyte and the three others.
        shape: (1, 28, 28), or larger by an even number, padded with black.
        validation: Images taken from the end of the training files; 0 trains on all 60,000.
    """

    features: ClassVar[str] = "digits"
    licence = LICENCE
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
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize)
        check_padding(self.shape, 28)
        if validation < 0:
            raise ValueError(f"data.validation={validation}: it cannot be negative")
        self.root = root
        self.validation = validation

    def prepare_data(self) -> None:
        folder = Path(self.root, self.source.__name__, "raw")
        if not all((folder / name).is_file() for name in self.md5):
            self._download(folder)
        for name, md5 in self.md5.items():
            if hashlib.md5((folder / name).read_bytes()).hexdigest() != md5:
                raise ValueError(
                    f"{folder / name} is truncated or altered (its md5 is not {md5}): "
                    "delete it and put the original there"
                )

    def _download(self, folder: Path) -> None:
        made = [path for path in (folder, folder.parent, Path(self.root)) if not path.exists()]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self.source(self.root, download=True)
        except (OSError, RuntimeError) as error:
            for path in made:
                with contextlib.suppress(OSError):
                    path.rmdir()  # only if it is empty
            raise FileNotFoundError(
                f"{folder} lacks {', '.join(self.md5)}, and the download failed "
                f"({type(error).__name__}): put the four files there, or set data.root or "
                "VAELAB_DATA to the folder above"
            ) from error

    def load(self) -> dict[str, Split]:
        train, test = (
            Split(pad_images(files.data[:, None], self.shape), files.targets)
            for files in (self.source(self.root, train=True), self.source(self.root, train=False))
        )
        cut = len(train.images) - self.validation
        if cut < 1:
            raise ValueError(
                f"data.validation={self.validation} leaves nothing of {len(train.images)} images "
                "to train on"
            )
        return {
            "train": Split(train.images[:cut], train.labels[:cut]),
            "val": Split(train.images[cut:], train.labels[cut:]),
            "test": test,
        }


def check_padding(shape: Sequence[int], side: int) -> None:
    """Refuse a shape that grey images of side x side cannot be padded to evenly."""
    grow = {(edge - side) / 2 for edge in shape[1:]}
    if len(shape) != 3 or shape[0] != 1 or any(n < 0 or n % 1 for n in grow):
        raise ValueError(
            f"data.shape={list(shape)}: these images are [1, {side}, {side}] and can be padded by "
            f"an even number, as in data.shape=[1,{side + 4},{side + 4}]"
        )


def pad_images(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Images (N, 1, H, W) with black around them, up to `shape`."""
    height, width = (
        (large - small) // 2 for large, small in zip(shape[1:], images.shape[2:], strict=True)
    )
    return pad(images, (width, width, height, height)) if height or width else images
