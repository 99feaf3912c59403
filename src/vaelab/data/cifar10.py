"""CIFAR-10, color images of animals and vehicles: `data=cifar10`.

Reference: Learning Multiple Layers of Features from Tiny Images (Krizhevsky, 2009)
"""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision import datasets

from vaelab.data.torchvision_images import TorchvisionImages


class CIFAR10(TorchvisionImages):
    """The 50,000 + 10,000 color 32x32 images of 10 classes, from <root>/cifar-10-batches-py.

    The files are pickles, which could run code: they are opened only after their MD5 hashes were
    found to be the published ones. The arguments are those of `TorchvisionImages`.
    """

    licence = "CIFAR-10: Alex Krizhevsky, no licence stated"
    source: ClassVar[type[datasets.CIFAR10]] = datasets.CIFAR10
    native_shape = (3, 32, 32)
    validation_images = 5_000
    folder = "cifar-10-batches-py"

    def list_files(self) -> dict[str, str | None]:
        meta = self.source.meta["filename"], self.source.meta["md5"]
        files: list[Any] = [*self.source.train_list, *self.source.test_list, meta]
        return dict(files)

    def open_source(self, train: bool, **settings: Any) -> Any:
        return self.source(self.root, train=train, **settings)

    def read_source(self, source: Any) -> tuple[Tensor, Tensor]:
        self.classes = tuple(source.classes)
        images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
        return images, torch.tensor(source.targets)
