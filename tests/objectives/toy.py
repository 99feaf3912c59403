"""The conjugate toy: z ~ N(0, 1), x|z ~ N(z, 1/4), x = 1.5, whose log p(x) is known."""

from types import SimpleNamespace

import torch
from torch.distributions import Independent, Normal

from vaelab.objectives.base import log_weights

LOG_P = -1.9305103088617774
X = 1.5


def normal(mean, variance):
    return Independent(Normal(mean, torch.as_tensor(variance).double().sqrt()), 1)


class Toy:
    """A VAE whose q(z|x) is N(mean, variance) for every x; the exact posterior by default."""

    shape = (1,)
    likelihood = SimpleNamespace(outputs=1)

    def __init__(self, mean=1.2, variance=0.2):
        self.mean, self.variance = mean, variance

    def encode(self, x):
        return normal(torch.full_like(x, self.mean), self.variance)

    def decode(self, z):
        return normal(z, 0.25)

    def latents(self):
        return normal(torch.zeros(1).double(), 1.0)


def images(count):
    return torch.full((count, 1), X).double()


def weights(toy, x, samples):
    return log_weights(toy, x, toy.encode(x), toy.latents(), samples)
