"""CIFAR-100, color images of 100 classes: `data=cifar100`.

Reference: Learning Multiple Layers of Features from Tiny Images (Krizhevsky, 2009)
"""

from torchvision import datasets

from vaelab.data.cifar10 import CIFAR10


class CIFAR100(CIFAR10):
    """The 50,000 + 10,000 color 32x32 images of 100 classes, from <root>/cifar-100-python.

    The arguments are those of `TorchvisionImages`; see `CIFAR10` for the safety of the files.
    """

    licence = "CIFAR-100: Alex Krizhevsky, no licence stated"
    source = datasets.CIFAR100
    folder = "cifar-100-python"
