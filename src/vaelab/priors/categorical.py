"""Categories that are equally likely, beside standard normal numbers: `prior=categorical`.

Reference: Categorical Reparameterization with Gumbel-Softmax (Jang et al., 2017), arXiv:1611.01144
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.distributions.normal import StandardNormal
from vaelab.distributions.one_hot import OneHotBlocks, OneHots
from vaelab.posteriors.gumbel import make_blocks
from vaelab.priors.base import Prior


class CategoricalPrior(Prior):
    """p(z) = K^-n N(rest; 0, I), with posterior=gumbel, whose categories and normal it has."""

    blocks: OneHotBlocks
    zeros: Tensor

    def __init__(
        self, latent_dim: int, shape: Sequence[int], categories: int = 10, normal: int = 0
    ):
        super().__init__(latent_dim, shape)
        self.support = self.blocks = make_blocks(latent_dim, categories, normal)
        self.register_buffer("zeros", torch.zeros(latent_dim), persistent=False)

    def forward(self, encode: Callable[..., Distribution]) -> OneHots:
        variables, categories, normal = self.blocks.sizes
        logits = self.zeros[: variables * categories].unflatten(-1, (variables, categories))
        return OneHots(logits, StandardNormal(self.zeros[len(self.zeros) - normal :]))
