"""Samples of known two-dimensional distributions: `data=toy2d data.name=ring`."""

import torch

from vaelab.data.base import Binarize, DataModule, Split, check_generated_sizes
from vaelab.distributions.toys import make_toy_distribution
from vaelab.runtime.seeding import Stream, seeded_noise


class Toy2D(DataModule):
    """Points (N, 2), float32, sampled from a known distribution; there are no labels.

    Arguments:
        name: ring | moons | pinwheel | checkerboard | eight_gaussians | spirals.
        train, validation, test: The number of points in each split.
        draw: The seed of the points; `seed` is the seed of their order in training.

    Raises:
        UserError: If an argument is out of range.
    """

    def __init__(
        self,
        name: str = "ring",
        train: int = 20_000,
        validation: int = 2_000,
        test: int = 5_000,
        draw: int = 0,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__((2,), binarize, batch_size, seed, dequantize)
        check_generated_sizes(train, validation, test, draw)
        self.points, self.draw = make_toy_distribution(name), draw
        self.sizes = {"train": train, "val": validation, "test": test}

    def load(self) -> dict[str, Split]:
        return {name: self._sample_split(i, n) for i, (name, n) in enumerate(self.sizes.items())}

    def _sample_split(self, number: int, count: int) -> Split:
        """Sample the points of split `number`, counted from 0."""
        with seeded_noise(Stream.POINTS, self.draw, number):
            x = self.points.sample(torch.Size([count]))
        return Split(x, torch.zeros(count, 0, dtype=torch.long))
