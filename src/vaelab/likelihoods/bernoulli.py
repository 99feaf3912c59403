"""Bernoulli, or binary cross-entropy: `loss=bce`.

Reference: Auto-Encoding Variational Bayes (Kingma and Welling, 2014), appendix C.1,
arXiv:1312.6114
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions import bernoulli
from vaelab.likelihoods.base import Likelihood, pixel_means


class Bernoulli(Likelihood):
    """log p(x|z) = sum_i x_i log s(out_i) + (1 - x_i) log(1 - s(out_i)), s the logistic function.

    Grey pixels between 0 and 1 are taken as they are, which many papers do; the result is then no
    likelihood and is labelled `grey` wherever it stands.
    """

    support = constraints.unit_interval
    pixels = "binary"

    def __init__(self, shape: Sequence[int]):
        super().__init__(shape)
        self.outputs = shape[0]

    def forward(self, out: Tensor) -> bernoulli.IndependentBernoulli:
        return bernoulli.IndependentBernoulli(out, len(self.shape))

    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        return torch.logit(pixel_means(x, shared).clamp(0.001, 0.999))
