"""A prior that no posterior of vaelab fits, for the tests of refusals."""

from torch.distributions import Independent, Uniform, constraints

from vaelab.priors.base import Prior


class Cube(Prior):
    """p(z) = 1 on [0, 1]^D."""

    support = constraints.unit_interval

    def forward(self, encode):
        return Independent(Uniform(0.0, 1.0).expand((self.latent_dim,)), 1)
