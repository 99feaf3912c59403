"""A prior whose support no posterior of vaelab has, for tests of error messages."""

from torch.distributions import Independent, Uniform, constraints

from vaelab.priors.base import Prior


class Cube(Prior):
    """The uniform prior p(z) = 1 on [0, 1]^D."""

    support = constraints.unit_interval

    def forward(self, encode):
        return Independent(Uniform(0.0, 1.0).expand((self.latent_dim,)), 1)
