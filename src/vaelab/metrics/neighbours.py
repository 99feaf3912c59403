"""Nearest neighbours among training images, to detect copies among generated images."""

import torch
from torch import Tensor

CHUNK_ROWS = 1000  # rows of the distance matrix in one chunk


class NearestNeighbours:
    """The nearest neighbour of each of N images among the candidates passed to `update`.

    Arguments:
        images: (N, *shape).

    Attributes:
        distance: The squared distance (N,) to the nearest neighbour, up to rounding errors.
        index: The index (N,) of the nearest neighbour; the smallest one if there are several.
    """

    def __init__(self, images: Tensor):
        self.images = images.flatten(1)
        self.distance = torch.full((len(images),), torch.inf, device=images.device)
        self.index = torch.zeros(len(images), dtype=torch.long, device=images.device)

    def update(self, candidates: Tensor, first: int) -> None:
        """Compare all images with candidates (B, *shape) whose indices are first, first + 1, ..."""
        candidates = candidates.flatten(1)
        squares = candidates.square().sum(1)
        for start in range(0, len(self.images), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            images = self.images[rows]
            distances = torch.addmm(squares, images, candidates.T, alpha=-2)
            distance, index = distances.min(1)
            self.merge(rows, distance + images.square().sum(1), index + first)

    def merge(self, rows: slice, distance: Tensor, index: Tensor) -> None:
        """Replace the neighbours of some images where those of another search are nearer.

        Arguments:
            rows: The images whose neighbours are merged.
            distance, index: The squared distances and indices of the other search's neighbours,
                which another process may have found.
        """
        old_distance, old_index = self.distance[rows], self.index[rows]
        is_tie = (distance == old_distance) & (index < old_index)
        is_nearer = (distance < old_distance) | is_tie
        self.distance[rows] = torch.where(is_nearer, distance, old_distance)
        self.index[rows] = torch.where(is_nearer, index, old_index)


def rms_distance(x: Tensor, y: Tensor) -> Tensor:
    """Compute the root mean squared pixel difference (N,) of images x and y (N, *shape)."""
    return (x - y).flatten(1).square().mean(1).sqrt()
