"""MNIST, handwritten digits: `data=mnist`.

Reference: Gradient-based learning applied to document recognition (LeCun et al., 1998).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torchvision import datasets

from vaelab.data.torchvision_images import TorchvisionImages

MNIST_LICENCE = "MNIST: Yann LeCun and Corinna Cortes, CC BY-SA 3.0"


class MNIST(TorchvisionImages):
    """The 60,000 + 10,000 grayscale 28x28 images of digits, from <root>/MNIST/raw.

    The arguments are those of `TorchvisionImages`. The labels are the classes, 0 to 9.
    """

    features: ClassVar[str] = "digits"
    licence = MNIST_LICENCE
    source: ClassVar[type[datasets.MNIST]] = datasets.MNIST
    native_shape = (1, 28, 28)
    validation_images = 10_000
    folder = "MNIST/raw"
    md5: ClassVar[Mapping[str, str | None]] = {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }

    def list_files(self) -> Mapping[str, str | None]:
        return self.md5

    def open_source(self, train: bool, **settings: Any) -> Any:
        return self.source(self.root, train=train, **settings)
