"""MNIST binarized once, as in many papers: `data=static_mnist`.

References: On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008);
the split is that of The Neural Autoregressive Distribution Estimator (Larochelle and Murray, 2011).
"""

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from vaelab.data.base import Binarize, DataModule, Split
from vaelab.data.mnist import MNIST_LICENCE
from vaelab.data.published_files import check_padding, find_published_file, pad_images
from vaelab.runtime.errors import UserError

SOURCE = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist"
PIXELS = 28 * 28
BLANK, DIGIT = 1, 2
KINDS = np.zeros(256, np.uint8)  # of every byte; 0 = not allowed in the file
KINDS[list(b" \t\r\n")] = BLANK
KINDS[list(b"01")] = DIGIT


class StaticMNIST(DataModule):
    """The 50,000 / 10,000 / 10,000 binary 28x28 images of the text files of Larochelle.

    The pixels were sampled once, with the gray levels of MNIST as probabilities. Log-likelihoods do
    not compare with those of `data=mnist data.binarize=dynamic`, which are about 2 nats better for
    the same model. There are no labels. The bits are compared with their published SHA-256.

    Arguments:
        root: The folder that contains static_mnist/binarized_mnist_{train,valid,test}.amat, or the
            same files compressed, with the suffix .gz.
        shape: (1, 28, 28), or larger by an even number, which pads the images with black.

    Raises:
        UserError: If an argument is out of range. `setup` raises it if a file is damaged.
        MissingFileError: From `prepare_data` and `setup`, if a file is missing.
    """

    features = "digits"
    licence = MNIST_LICENCE
    is_binary = True
    sha256: ClassVar[Mapping[str, str]] = {
        "train": "727146c35424b019f3e350e1e69faa05644a0abaf787e3f4e1a9632220a13906",
        "val": "a256ac44ae26be720fad8616a05ed6ecfd1619930d9a208379bb2a4405df5b6d",
        "test": "9fcd8da6f0fdf09b2ba30fe63a0bb784042a0de82563172530229b983e294ff2",
    }

    def __init__(
        self,
        root: str,
        shape: Sequence[int] = (1, 28, 28),
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__(shape, binarize, batch_size, seed, dequantize)
        check_padding(self.shape, (1, 28, 28))
        self.root = root

    def prepare_data(self) -> None:
        for name in self.sha256:
            self._find_file(name)

    def load(self) -> dict[str, Split]:
        return {name: self._read_split(name) for name in self.sha256}

    def _find_file(self, name: str) -> Path:
        stem = f"binarized_mnist_{'valid' if name == 'val' else name}.amat"
        return find_published_file(self.root, "static_mnist", (stem, f"{stem}.gz"), SOURCE)

    def _read_split(self, name: str) -> Split:
        path = self._find_file(name)
        bits = read_bits(path)
        digest = hashlib.sha256(np.packbits(bits, axis=1).tobytes()).hexdigest()
        if digest != self.sha256[name]:
            raise UserError(
                f"{path} is truncated or altered (the SHA-256 of its bits is not "
                f"{self.sha256[name]}): replace it with the original file"
            )
        self.bits_sha256[name] = digest
        images = torch.from_numpy(bits.reshape(-1, 1, 28, 28) * np.uint8(255))
        return Split(pad_images(images, self.shape), torch.zeros(len(bits), 0, dtype=torch.int64))


def read_bits(path: Path) -> np.ndarray:
    """Read a text file of rows of 784 digits 0 and 1 with blanks between them.

    The bytes are converted at once: this takes a second for 50,000 rows, and numpy.loadtxt minutes.

    Returns:
        uint8 (N, 784), 0 or 1.

    Raises:
        UserError: If the file has another content.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            text = np.frombuffer(file.read(), np.uint8)
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({error}): replace it with the original") from error
    kinds = KINDS[text]
    is_digit = kinds == DIGIT
    has_longer_numbers = bool((is_digit[1:] & is_digit[:-1]).any())
    bits = text[is_digit] - ord("0")
    if not kinds.all() or has_longer_numbers or len(bits) == 0 or len(bits) % PIXELS:
        raise UserError(
            f"{path} must have rows of {PIXELS} digits 0 and 1 with blanks between them: replace "
            "it with the original file"
        )
    return bits.reshape(-1, PIXELS)
