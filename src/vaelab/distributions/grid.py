"""The order of latents that form a grid: from vectors to feature maps, and back.

A latent vector holds the latents of one position after another, in row-major order of the
positions, so that the n-th group of c numbers belongs to the n-th position. `VAE.latent_shape` is
the shape (c, *grid) of the feature maps.
"""

import math
from collections.abc import Sequence

from torch import Tensor


def vector_to_grid(z: Tensor, latent_shape: Sequence[int]) -> Tensor:
    """Return latent vectors (*, D) as feature maps (*, c, *grid), with latent_shape (c, *grid)."""
    channels, *grid = latent_shape
    return z.unflatten(-1, (*grid, channels)).movedim(-1, -1 - len(grid))


def grid_to_vector(maps: Tensor, latent_shape: Sequence[int]) -> Tensor:
    """Return feature maps (*, c, *grid) as latent vectors (*, D): the inverse of vector_to_grid."""
    last = maps.movedim(-len(latent_shape), -1)
    return last.reshape(*last.shape[: -len(latent_shape)], math.prod(latent_shape))
