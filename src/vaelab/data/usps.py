"""USPS, digits of postal codes: `data=usps`.

Reference: A Database for Handwritten Text Recognition Research (Hull, 1994)
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision import datasets

from vaelab.data.torchvision_images import TorchvisionImages


class USPS(TorchvisionImages):
    """The 7,291 + 2,007 grayscale 16x16 images of digits, from <root>/USPS.

    The files hold real numbers in [-1, 1], which torchvision rounds down to 256 levels. The
    arguments are those of `TorchvisionImages`. The labels are the digits, 0 to 9.
    """

    features = "digits"
    licence = "USPS: United States Postal Service, no licence stated"
    native_shape = (1, 16, 16)
    validation_images = 1_000
    folder = "USPS"

    def list_files(self) -> dict[str, str | None]:
        return {name: md5 for _, name, md5 in datasets.USPS.split_list.values()}

    def open_source(self, train: bool, **settings: Any) -> Any:
        return datasets.USPS(Path(self.root, self.folder), train=train, **settings)

    def read_source(self, source: Any) -> tuple[Tensor, Tensor]:
        self.conversions = ["real numbers in [-1, 1] rounded down to 256 levels"]
        return torch.from_numpy(source.data)[:, None], torch.tensor(source.targets)
