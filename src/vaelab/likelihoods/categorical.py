"""A probability of its own for each of the 256 levels: `loss=categorical`.

Reference: Pixel Recurrent Neural Networks (van den Oord et al., 2016), section 2.2,
arXiv:1601.06759
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.levels import LEVELS, Levels
from vaelab.likelihoods.base import Likelihood


class Categorical(Likelihood):
    """P(x_i = v/255 | z) = softmax(out_i)_v: 256 decoder outputs for every pixel, no assumption."""

    support = constraints.unit_interval
    pixels = "levels"

    def __init__(self, shape: Sequence[int]):
        super().__init__(shape)
        self.outputs = LEVELS * shape[0]

    def forward(self, out: Tensor) -> Levels:
        dims = len(self.shape)
        return Levels(out.unflatten(-dims, (self.shape[0], LEVELS)), dims)

    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        """The logarithm of how often each level was seen, all of them once more between them."""
        level = (x * (LEVELS - 1)).round().long().flatten(1)
        pixels = level.shape[1]
        index = level + LEVELS * torch.arange(pixels, device=x.device)
        counts = torch.bincount(index.flatten(), minlength=LEVELS * pixels)
        counts = counts.view(self.shape[0], -1, LEVELS).transpose(1, 2).to(x)
        if shared:
            counts = counts.mean(2, keepdim=True).expand_as(counts)
        return (counts + 1 / LEVELS).log().reshape(-1, *self.shape[1:])
