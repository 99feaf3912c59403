"""A likelihood of this project: `loss=noisy_gaussian`."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, constraints

from vaelab.likelihoods.base import Likelihood, compute_mean_image


class NoisyGaussian(Likelihood):
    """A normal distribution whose standard deviation the decoder predicts for each value of x.

    -log p(x|z) = sum_i (x_i - mean_i)^2 / (2 scale_i^2) + log(scale_i) + log(2 pi) / 2

    Arguments:
        shape: The shape of one x.
        smallest: A lower bound of the standard deviations; without one, the density can diverge.
    """

    support = constraints.real
    pixels = "real"

    def __init__(self, shape: Sequence[int], smallest: float = 0.01):
        super().__init__(shape)
        self.outputs = 2 * self.shape[0]
        self.smallest = smallest

    def forward(self, out: Tensor) -> Distribution:
        mean, log_scale = out.chunk(2, -len(self.shape))
        scale = self.smallest + log_scale.clamp(max=math.log(1e4)).exp()
        return Independent(Normal(mean, scale, validate_args=False), len(self.shape))

    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        mean = compute_mean_image(x, shared)
        scale = compute_mean_image((x - mean).square(), shared).sqrt()
        return torch.cat([mean, (scale - self.smallest).clamp(min=1e-6).log()])
