"""EMNIST, handwritten letters and digits: `data=emnist data.split=balanced`.

Reference: EMNIST: an extension of MNIST to handwritten letters (Cohen et al., 2017),
arXiv:1702.05373
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import Tensor
from torchvision import datasets

from vaelab.data.base import Binarize
from vaelab.data.torchvision_images import TorchvisionImages
from vaelab.runtime.errors import UserError

EMNISTSplit = Literal["balanced", "byclass", "bymerge", "letters", "digits", "mnist"]


class EMNIST(TorchvisionImages):
    """The grayscale 28x28 images of one of the six sets of EMNIST, from <root>/EMNIST/raw.

    The files hold every image transposed; here they are upright. Only gzip.zip, which contains all
    files, has a published hash.

    Arguments:
        split: balanced (112,800 + 18,800 images, 47 classes), byclass (697,932 + 116,323, 62),
            bymerge (697,932 + 116,323, 47), letters (124,800 + 20,800, 26), digits (240,000 +
            40,000) or mnist (60,000 + 10,000).
        validation: As in `TorchvisionImages`; null = as many images as the test set has, as in the
            paper.
    """

    features = "digits"
    licence = "EMNIST: NIST (from Special Database 19), no licence stated"
    native_shape = (1, 28, 28)
    validation_images = None
    folder = "EMNIST/raw"

    def __init__(
        self,
        root: str,
        split: EMNISTSplit = "balanced",
        shape: Sequence[int] | None = None,
        validation: int | None = None,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
        missing_fraction: float = 0.0,
        augment: Sequence[str] = (),
    ):
        if split not in get_args(EMNISTSplit):
            raise UserError(f"data.split={split}: choose from {', '.join(get_args(EMNISTSplit))}")
        self.split = split
        settings = (binarize, batch_size, seed, dequantize, missing_fraction, augment)
        super().__init__(root, shape, validation, *settings)
        names = datasets.EMNIST.classes_split_dict[split]
        self.classes = tuple(names[1:] if split == "letters" else names)

    def list_files(self) -> dict[str, str | None]:
        kinds = ("images-idx3", "labels-idx1")
        names = (f"{part}-{kind}" for part in ("train", "test") for kind in kinds)
        return {f"emnist-{self.split}-{name}-ubyte": None for name in names}

    def open_source(self, train: bool, **settings: Any) -> Any:
        return datasets.EMNIST(self.root, self.split, train=train, **settings)

    def read_source(self, source: Any) -> tuple[Tensor, Tensor]:
        first = 1 if self.split == "letters" else 0  # the labels of letters begin with 1
        return source.data[:, None].transpose(2, 3).contiguous(), source.targets - first
