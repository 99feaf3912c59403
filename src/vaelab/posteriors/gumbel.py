"""Categorical latents relaxed in training, and normal latents: `posterior=gumbel`, `model=gumbel`.

References:
    Categorical Reparameterization with Gumbel-Softmax (Jang et al., 2017), arXiv:1611.01144
    Learning Disentangled Joint Continuous and Discrete Representations (Dupont, 2018),
    arXiv:1804.00104
"""

import math

import torch
from torch import Tensor

from vaelab.distributions.one_hot import OneHotAndNormal, OneHotConstraint
from vaelab.posteriors.base import Posterior, check_bound, check_count, diagonal_normal
from vaelab.runtime.errors import UserError


class Gumbel(Posterior):
    """The posterior of independent one-hot vectors c_i and normal numbers r, z = (c, r).

    q(z|x) = prod_i Categorical(c_i; softmax(logits_i)) N(r; m, diag(s^2)).

    In training c is relaxed with the temperature max(lowest, temperature * exp(-rate * step)),
    where step is the number of optimizer steps taken. In evaluation c is one-hot.

    Arguments:
        latent_dim: The length of z; latent_dim - normal must be a multiple of categories.
        categories: The number of categories of each variable.
        normal: The number of normal latents.
        temperature: The temperature at step 0.
        lowest: The lowest temperature.
        rate: The decay of the temperature per optimizer step.
        bound: The largest |log s|.

    Raises:
        UserError: If the sizes do not match or another argument is out of range.
    """

    blocks: OneHotConstraint
    is_relaxed = True
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
        self.support = self.blocks = make_one_hot_constraint(latent_dim, categories, normal)
        if not 0 < lowest <= temperature < math.inf:
            raise UserError(
                f"posterior.lowest={lowest} and posterior.temperature={temperature}: set both "
                "to finite numbers with 0 < lowest <= temperature"
            )
        if not 0 <= rate < math.inf:
            raise UserError(f"posterior.rate={rate}: it must be 0 or a positive finite number")
        self.inputs = latent_dim + normal
        self.temperature, self.lowest, self.rate, self.bound = temperature, lowest, rate, bound
        self.register_buffer("now", torch.tensor(float(temperature)), persistent=False)

    def anneal(self, step: int) -> None:
        self.now.fill_(max(self.lowest, self.temperature * math.exp(-self.rate * step)))

    def forward(self, out: Tensor) -> OneHotAndNormal:
        variables, categories, normal = self.blocks.sizes
        logits, mean, raw = out.split([variables * categories, normal, normal], -1)
        return OneHotAndNormal(
            logits.unflatten(-1, (variables, categories)),
            diagonal_normal(mean, raw, self.bound),
            self.now if self.training else None,
        )


def make_one_hot_constraint(latent_dim: int, categories: int, normal: int) -> OneHotConstraint:
    """Return the constraint for as many one-hot vectors as fit into latent_dim - normal numbers.

    Raises:
        UserError: If they do not fill latent_dim exactly.
    """
    check_count("categories", categories)
    one_hot_size = latent_dim - normal
    if normal < 0 or one_hot_size < categories or one_hot_size % categories:
        raise UserError(
            f"posterior.categories={categories} and posterior.normal={normal} do not fill "
            f"latent_dim={latent_dim}: set latent_dim to a multiple of {categories} plus {normal}"
        )
    return OneHotConstraint(one_hot_size // categories, categories, normal)
