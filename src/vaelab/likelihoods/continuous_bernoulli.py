"""The continuous Bernoulli distribution, a density on [0, 1]: `loss=continuous_bernoulli`.

Reference: The continuous Bernoulli: fixing a pervasive error in variational autoencoders
(Loaiza-Ganem and Cunningham, 2019), equations 8 to 10, arXiv:1907.06845
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions import continuous_bernoulli
from vaelab.likelihoods.base import Likelihood, compute_mean_image

BISECTIONS = 60


class ContinuousBernoulli(Likelihood):
    """Independent continuous Bernoulli pixels; the decoder output is their logits.

    log p(x|z) = sum_i x_i log s(out_i) + (1 - x_i) log(1 - s(out_i)) + log C(s(out_i)), where s is
    the sigmoid and C normalizes the density on [0, 1].

    Arguments:
        shape: The shape of one x.
    """

    support = constraints.unit_interval
    pixels = "real"

    def __init__(self, shape: Sequence[int]):
        super().__init__(shape)
        self.outputs = shape[0]

    def forward(self, out: Tensor) -> continuous_bernoulli.IndependentContinuousBernoulli:
        return continuous_bernoulli.IndependentContinuousBernoulli(out, len(self.shape))

    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        """Compute the logits for which the mean of p(x|z) is the mean image, by bisection."""
        target = compute_mean_image(x, shared).clamp(0.001, 0.999)
        low, high = torch.full_like(target, -2000.0), torch.full_like(target, 2000.0)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            is_above = self(middle).mean > target
            low, high = torch.where(is_above, low, middle), torch.where(is_above, middle, high)
        return (low + high) / 2
