"""A categorical distribution over 256 levels: `loss=categorical`.

Reference: Pixel Recurrent Neural Networks (van den Oord et al., 2016), section 2.2,
arXiv:1601.06759
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.levels import NUM_LEVELS, IndependentCategorical
from vaelab.likelihoods.base import Likelihood


class Categorical(Likelihood):
    """Independent categorical pixels with 256 levels, P(x_i = v/255 | z) = softmax(out_i)_v.

    It needs 256 decoder outputs for every pixel and makes no assumption about their distribution.

    Arguments:
        shape: The shape of one x.
    """

    support = constraints.unit_interval
    pixels = "levels"

    def __init__(self, shape: Sequence[int]):
        super().__init__(shape)
        self.outputs = NUM_LEVELS * shape[0]

    def forward(self, out: Tensor) -> IndependentCategorical:
        dims = len(self.shape)
        return IndependentCategorical(out.unflatten(-dims, (self.shape[0], NUM_LEVELS)), dims)

    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        """Compute the log frequencies of the levels, with 1/256 added to each count."""
        level = (x * (NUM_LEVELS - 1)).round().long().flatten(1)
        pixels = level.shape[1]
        index = level + NUM_LEVELS * torch.arange(pixels, device=x.device)
        counts = torch.bincount(index.flatten(), minlength=NUM_LEVELS * pixels)
        counts = counts.view(self.shape[0], -1, NUM_LEVELS).transpose(1, 2).to(x)
        if shared:
            counts = counts.mean(2, keepdim=True).expand_as(counts)
        return (counts + 1 / NUM_LEVELS).log().reshape(-1, *self.shape[1:])
