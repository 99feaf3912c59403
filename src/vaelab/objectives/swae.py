"""The sliced-Wasserstein autoencoder: `objective=swae`.

Reference: Sliced-Wasserstein Autoencoder (Kolouri et al., 2018), equation 11, arXiv:1804.01947
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vaelab.objectives.base import check_at_least_one
from vaelab.objectives.matching import AggregateMatching


class SWAE(AggregateMatching):
    """Reconstruction, plus the squared sliced Wasserstein distance of q(z) and p(z).

        loss = -log p(x|z) + weight * mean_u W_2^2(u^T z, u^T p),    z ~ q(z), p ~ p(z)

    The distance is averaged over random unit vectors u. In one dimension, W_2^2 of two samples is
    the mean squared difference of their sorted values.

    Arguments:
        weight: Nats per unit of the squared distance.
        directions: The number of unit vectors u, sampled anew for each batch.

    Raises:
        UserError: If `weight` is negative or not finite, or `directions` is below 1.
    """

    def __init__(self, weight: float = 100.0, directions: int = 50):
        super().__init__(weight)
        check_at_least_one(directions=directions)
        self.directions = directions

    def discrepancy(self, z: Tensor, prior_z: Tensor) -> Tensor:
        noise = torch.randn(z.shape[-1], self.directions, dtype=z.dtype, device=z.device)
        directions = normalize(noise, dim=0)
        projected, prior_projected = (
            (points @ directions).sort(0).values for points in (z, prior_z)
        )
        return (projected - prior_projected).square().mean()
