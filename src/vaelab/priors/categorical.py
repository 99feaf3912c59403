"""Uniform categorical variables and standard normal numbers: `prior=categorical`.

Reference: Categorical Reparameterization with Gumbel-Softmax (Jang et al., 2017), arXiv:1611.01144
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.distributions.normal import StandardNormal
from vaelab.distributions.one_hot import OneHotAndNormal, OneHotConstraint
from vaelab.posteriors.gumbel import make_one_hot_constraint
from vaelab.priors.base import Prior


class CategoricalPrior(Prior):
    """The prior p(z) = K^-n N(r; 0, I) of n one-hot vectors of length K and normal numbers r.

    It needs posterior=gumbel with the same arguments.

    Arguments:
        latent_dim: The length of z.
        shape: The shape of one x (unused).
        categories: K.
        normal: The number of normal latents.

    Raises:
        UserError: If categories and normal do not fill latent_dim.
    """

    blocks: OneHotConstraint
    zeros: Tensor

    def __init__(
        self, latent_dim: int, shape: Sequence[int], categories: int = 10, normal: int = 0
    ):
        super().__init__(latent_dim, shape)
        self.support = self.blocks = make_one_hot_constraint(latent_dim, categories, normal)
        self.register_buffer("zeros", torch.zeros(latent_dim), persistent=False)

    def forward(self, encode: Callable[..., Distribution]) -> OneHotAndNormal:
        variables, categories, normal = self.blocks.sizes
        logits = self.zeros[: variables * categories].unflatten(-1, (variables, categories))
        return OneHotAndNormal(logits, StandardNormal(self.zeros[len(self.zeros) - normal :]))
