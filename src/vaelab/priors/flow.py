"""A masked autoregressive flow, trained jointly with the VAE: `prior=flow`.

References:
    Variational Lossy Autoencoder (Chen et al., 2017), section 3.2, arXiv:1611.02731
    Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), arXiv:1705.07057
"""

from collections.abc import Callable, Sequence

from torch.distributions import Distribution, constraints
from zuko.flows.autoregressive import MAF

from vaelab.priors.base import Prior, check_at_least_one


class Flow(Prior):
    """The prior p(z) = N(f(z); 0, I) |det df/dz| with a masked autoregressive flow f.

    Computing a density takes one pass; sampling takes one pass for each latent dimension.

    Arguments:
        latent_dim: The length of z.
        shape: The shape of one x (unused).
        transforms: The number of autoregressive steps. Every second step reverses the order of the
            dimensions.
        hidden: The widths of the hidden layers of the masked network of a step.

    Raises:
        UserError: If transforms is below 1.
    """

    support = constraints.real_vector

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        transforms: int = 2,
        hidden: Sequence[int] = (128, 128),
    ):
        super().__init__(latent_dim, shape)
        check_at_least_one(transforms=transforms)
        self.flow = MAF(latent_dim, transforms=transforms, hidden_features=hidden)

    def forward(self, encode: Callable[..., Distribution]) -> Distribution:
        return self.flow(None)
