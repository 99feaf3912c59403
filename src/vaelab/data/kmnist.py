"""Kuzushiji-MNIST, cursive Japanese characters: `data=kmnist`.

Reference: Deep Learning for Classical Japanese Literature (Clanuwat et al., 2018), arXiv:1812.01718
"""

from torchvision import datasets

from vaelab.data.mnist import MNIST


class KMNIST(MNIST):
    """The 60,000 + 10,000 grayscale 28x28 images of 10 characters, from <root>/KMNIST/raw.

    The arguments are those of `TorchvisionImages`. Only the compressed files (.gz) have a published
    hash.
    """

    licence = "KMNIST: Center for Open Data in the Humanities (ROIS-DS), CC BY-SA 4.0"
    source = datasets.KMNIST
    folder = "KMNIST/raw"
    classes = tuple(datasets.KMNIST.classes)
    md5 = dict.fromkeys(MNIST.md5)
