"""Categories, relaxed in training, beside normal latents: `posterior=gumbel`, or `model=gumbel`.

References:
    Categorical Reparameterization with Gumbel-Softmax (Jang et al., 2017), arXiv:1611.01144
    Learning Disentangled Joint Continuous and Discrete Representations (Dupont, 2018),
    arXiv:1804.00104
"""

import math

import torch
from torch import Tensor

from vaelab.distributions.one_hot import OneHotBlocks, OneHots
from vaelab.posteriors.base import Posterior, check_bound, check_count, diagonal_normal


class Gumbel(Posterior):
    """q(z|x) = prod_i Categorical(c_i; softmax(logits_i)) N(rest), z the one-hot c_i and the rest.

    In training z is relaxed at a temperature of max(lowest, temperature * exp(-rate * step)); in
    evaluation it is one-hot.

    Arguments:
        categories: Of each variable.
        normal: How many of the latent_dim numbers are normal; the others are one-hot vectors.
        bound: The largest |log s| of a normal.
    """

    blocks: OneHotBlocks
    relaxed = True
    now: Tensor

    def __init__(
        self,
        latent_dim: int,
        categories: int = 10,
        normal: int = 0,
        temperature: float = 1.0,
        lowest: float = 0.5,
        rate: float = 1e-4,
        bound: float = 7.0,
    ):
        super().__init__()
        check_bound(bound)
        self.support = self.blocks = make_blocks(latent_dim, categories, normal)
        if not 0 < lowest <= temperature < math.inf:
            raise ValueError(
                f"posterior.lowest={lowest} and posterior.temperature={temperature}: they must be "
                "above 0, the temperature not below the lowest"
            )
        if not 0 <= rate < math.inf:
            raise ValueError(f"posterior.rate={rate}: it must be a finite number, not negative")
        self.inputs = latent_dim + normal
        self.temperature, self.lowest, self.rate, self.bound = temperature, lowest, rate, bound
        self.register_buffer("now", torch.tensor(float(temperature)), persistent=False)

    def anneal(self, step: int) -> None:
        self.now.fill_(max(self.lowest, self.temperature * math.exp(-self.rate * step)))

    def forward(self, out: Tensor) -> OneHots:
        variables, categories, normal = self.blocks.sizes
        logits, mean, raw = out.split([variables * categories, normal, normal], -1)
        return OneHots(
            logits.unflatten(-1, (variables, categories)),
            diagonal_normal(mean, raw, self.bound),
            self.now if self.training else None,
        )


def make_blocks(latent_dim: int, categories: int, normal: int) -> OneHotBlocks:
    """As many variables as latent_dim has room for."""
    check_count("categories", categories)
    left = latent_dim - normal
    if normal < 0 or left < categories or left % categories:
        raise ValueError(
            f"posterior.categories={categories} and posterior.normal={normal} do not fill "
            f"latent_dim={latent_dim}: set latent_dim to a multiple of {categories} plus {normal}"
        )
    return OneHotBlocks(left // categories, categories, normal)
