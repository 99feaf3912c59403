"""Fashion-MNIST, a drop-in replacement for MNIST: `data=fashion_mnist`.

Reference: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms
(Xiao et al., 2017), arXiv:1708.07747
"""

from collections.abc import Mapping
from typing import ClassVar

from torchvision import datasets

from vaelab.data.mnist import MNIST


class FashionMNIST(MNIST):
    """The 60,000 + 10,000 grayscale 28x28 images of clothing, from <root>/FashionMNIST/raw.

    The arguments are those of `TorchvisionImages`.
    """

    features = "clothes"
    licence = "FashionMNIST: Zalando SE, MIT licence"
    source = datasets.FashionMNIST
    folder = "FashionMNIST/raw"
    classes = tuple(datasets.FashionMNIST.classes)
    md5: ClassVar[Mapping[str, str | None]] = {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    }
