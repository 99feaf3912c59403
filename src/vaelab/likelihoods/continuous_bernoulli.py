"""Continuous Bernoulli, the proper density of grey pixels: `loss=continuous_bernoulli`.

Reference: The continuous Bernoulli: fixing a pervasive error in variational autoencoders
(Loaiza-Ganem and Cunningham, 2019), equations 8 to 10, arXiv:1907.06845
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions import continuous_bernoulli
from vaelab.likelihoods.base import Likelihood, pixel_means

HALVINGS = 60


class ContinuousBernoulli(Likelihood):
    """log p(x|z) = sum_i x_i log s(out_i) + (1 - x_i) log(1 - s(out_i)) + log C(s(out_i)).

    C makes it a density on [0, 1]; s is the logistic function.
    """

    support = constraints.unit_interval
    pixels = "real"

    def __init__(self, shape: Sequence[int]):
        super().__init__(shape)
        self.outputs = shape[0]

    def forward(self, out: Tensor) -> continuous_bernoulli.IndependentContinuousBernoulli:
        return continuous_bernoulli.IndependentContinuousBernoulli(out, len(self.shape))

    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        """The logits whose mean is that of the images, by bisection."""
        wanted = pixel_means(x, shared).clamp(0.001, 0.999)
        low, high = torch.full_like(wanted, -2000.0), torch.full_like(wanted, 2000.0)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = self(middle).mean > wanted
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return (low + high) / 2
