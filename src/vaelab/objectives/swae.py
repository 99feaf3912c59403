"""The sliced-Wasserstein autoencoder: `objective=swae`.

Reference: Sliced-Wasserstein Autoencoder (Kolouri et al., 2018), equation 11, arXiv:1804.01947
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vaelab.objectives.base import check_at_least_one
from vaelab.objectives.matching import Matching


class SWAE(Matching):
    """reconstruction + weight * the sliced Wasserstein distance of q(z) from p(z), squared.

    In each of several random directions the distance of two samples is that of their sorted
    projections.

    Arguments:
        directions: Drawn anew for each batch.
    """

    def __init__(self, weight: float = 100.0, directions: int = 50):
        super().__init__(weight)
        check_at_least_one(directions=directions)
        self.directions = directions

    def discrepancy(self, z: Tensor, p: Tensor) -> Tensor:
        drawn = torch.randn(z.shape[-1], self.directions, dtype=z.dtype, device=z.device)
        slices = normalize(drawn, dim=0)
        ours, theirs = ((each @ slices).sort(0).values for each in (z, p))
        return (ours - theirs).square().mean()
