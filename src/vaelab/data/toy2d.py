"""Points in the plane from distributions that are known: `data=toy2d data.name=ring`."""

import torch

from vaelab.data.base import Binarize, DataModule, Split
from vaelab.distributions.toys import toy_distribution
from vaelab.runtime.seeding import Stream, seeded_noise


class Toy2D(DataModule):
    """Float32 pairs drawn from ring | moons | pinwheel | checkerboard | eight_gaussians | spirals.

    Arguments:
        train, validation, test: The number of points of each split.
        draw: The seed of the points; `seed` is of their order.
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
        if min(train, test) < 1 or validation < 0:
            raise ValueError(
                f"data.train={train}, data.validation={validation} and data.test={test} count "
                "points: at least 1, validation 0 or more"
            )
        if draw < 0:
            raise ValueError(f"data.draw={draw}: it must not be negative")
        self.points, self.draw = toy_distribution(name), draw
        self.sizes = {"train": train, "val": validation, "test": test}

    def load(self) -> dict[str, Split]:
        return {name: self._split(i, n) for i, (name, n) in enumerate(self.sizes.items())}

    def _split(self, number: int, count: int) -> Split:
        with seeded_noise(Stream.POINTS, self.draw, number):
            x = self.points.sample(torch.Size([count]))
        return Split(x, torch.zeros(count, 0, dtype=torch.long))
