"""One code for each image, for the plain autoencoder: `posterior=deterministic`.

Reference: Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov,
2006)
"""

from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.point import PointMass
from vaelab.posteriors.base import Posterior


class Deterministic(Posterior):
    """z = out. There is no density, so neither KL nor ELBO: it needs objective=autoencoder."""

    support = constraints.real_vector
    density = False
    random = False

    def __init__(self, latent_dim: int):
        super().__init__()
        self.inputs = latent_dim

    def forward(self, out: Tensor) -> PointMass:
        return PointMass(out)
