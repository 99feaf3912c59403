"""SVHN, color images of house numbers: `data=svhn`.

Reference: Reading Digits in Natural Images with Unsupervised Feature Learning (Netzer et al., 2011)
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from vaelab.data.torchvision_images import TorchvisionImages


class SVHN(TorchvisionImages):
    """The 73,257 + 26,032 color 32x32 images of digits, from <root>/SVHN.

    The 531,131 extra training images are not used. The arguments are those of `TorchvisionImages`.
    The labels are the digits, 0 to 9.
    """

    licence = "SVHN: Stanford University, for non-commercial use only"
    native_shape = (3, 32, 32)
    validation_images = 5_000
    folder = "SVHN"

    def list_files(self) -> dict[str, str | None]:
        files = datasets.SVHN.split_list
        return {files[name][1]: files[name][2] for name in ("train", "test")}

    def open_source(self, train: bool, **settings: Any) -> Any:
        split = "train" if train else "test"
        return datasets.SVHN(Path(self.root, self.folder), split=split, **settings)

    def read_source(self, source: Any) -> tuple[Tensor, Tensor]:
        images = np.ascontiguousarray(source.data)
        return torch.from_numpy(images), torch.from_numpy(source.labels)
