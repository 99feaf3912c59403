"""A deterministic encoder, for a plain autoencoder: `posterior=deterministic`.

Reference: Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov,
2006)
"""

from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.point import PointMass
from vaelab.posteriors.base import Posterior


class Deterministic(Posterior):
    """The point mass at z = out, the encoder output.

    It has no density, hence no KL divergence and no ELBO, and needs an objective without them, such
    as objective=autoencoder.
    """

    support = constraints.real_vector
    has_density = False
    is_random = False

    def __init__(self, latent_dim: int):
        super().__init__()
        self.inputs = latent_dim

    def forward(self, out: Tensor) -> PointMass:
        return PointMass(out)
