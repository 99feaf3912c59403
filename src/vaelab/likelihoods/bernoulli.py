"""The Bernoulli distribution, or binary cross-entropy: `loss=bce`.

Reference: Auto-Encoding Variational Bayes (Kingma and Welling, 2014), appendix C.1,
arXiv:1312.6114
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions import bernoulli
from vaelab.likelihoods.base import Likelihood, compute_mean_image


class Bernoulli(Likelihood):
    """Independent Bernoulli pixels; the decoder output is their logits.

    log p(x|z) = sum_i x_i log s(out_i) + (1 - x_i) log(1 - s(out_i)), where s is the sigmoid.

    Grayscale pixels between 0 and 1 are treated as probabilities, as in many papers. The result is
    then not a likelihood and is labelled `grey` in metrics and tables.

    Arguments:
        shape: The shape of one x.
    """

    support = constraints.unit_interval
    pixels = "binary"

    def __init__(self, shape: Sequence[int]):
        super().__init__(shape)
        self.outputs = shape[0]

    def forward(self, out: Tensor) -> bernoulli.IndependentBernoulli:
        return bernoulli.IndependentBernoulli(out, len(self.shape))

    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        return torch.logit(compute_mean_image(x, shared).clamp(0.001, 0.999))
