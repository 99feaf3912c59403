"""The nearest of many images to each of some: whether new ones are copies."""

import torch
from torch import Tensor

ROWS = 1000  # of a matrix of distances at once


class NearestNeighbours:
    """For each of `images` (N, *shape) the nearest of all that `update` has seen.

    Attributes:
        distance: Its squared distance, (N,), up to rounding.
        index: Its number, (N,); of equals the first.
    """

    def __init__(self, images: Tensor):
        self.images = images.flatten(1)
        self.distance = torch.full((len(images),), torch.inf, device=images.device)
        self.index = torch.zeros(len(images), dtype=torch.long, device=images.device)

    def update(self, others: Tensor, first: int) -> None:
        """See others (B, *shape), which are numbered first, first + 1, ..."""
        others = others.flatten(1)
        squares = others.square().sum(1)
        for start in range(0, len(self.images), ROWS):
            part = slice(start, start + ROWS)
            images = self.images[part]
            apart = torch.addmm(squares, images, others.T, alpha=-2)
            distance, index = apart.min(1)
            self.take(part, distance + images.square().sum(1), index + first)

    def take(self, part: slice, distance: Tensor, index: Tensor) -> None:
        """What is nearer than what was found before; of another process too."""
        here, before = self.distance[part], self.index[part]
        nearer = (distance < here) | ((distance == here) & (index < before))
        self.distance[part] = torch.where(nearer, distance, here)
        self.index[part] = torch.where(nearer, index, before)


def rms_distance(x: Tensor, y: Tensor) -> Tensor:
    """The root of the mean squared difference of a pixel, (N,), of x and y (N, *shape)."""
    return (x - y).flatten(1).square().mean(1).sqrt()
