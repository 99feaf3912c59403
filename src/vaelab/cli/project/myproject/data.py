"""A data set of this project: `data=wave`."""

import math
from collections.abc import Mapping

import torch

from vaelab.data.base import Binarize, DataModule, Split


class Wave(DataModule):
    """Points (N, 2) near a sine wave, y = sin(x) + noise; there are no labels.

    `load` may read files instead, and return images (N, C, H, W) with labels (N,).

    Arguments:
        train, validation, test: The number of points of each split.
        noise: The standard deviation of y; it grows with x.
        batch_size, seed: See vaelab's DataModule.
    """

    def __init__(
        self,
        train: int = 5000,
        validation: int = 500,
        test: int = 500,
        noise: float = 0.05,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__((2,), binarize, batch_size, seed, dequantize)
        self.sizes = {"train": train, "val": validation, "test": test}
        self.noise = noise

    def load(self) -> Mapping[str, Split]:
        generator = torch.Generator().manual_seed(0)
        return {name: self._sample(count, generator) for name, count in self.sizes.items()}

    def _sample(self, count: int, generator: torch.Generator) -> Split:
        x = 2 * math.pi * torch.rand(count, generator=generator)
        y = x.sin() + self.noise * x * torch.randn(count, generator=generator)
        return Split(torch.stack([x - math.pi, y], 1), torch.zeros(count, 0, dtype=torch.long))
