"""The zero-inflated negative binomial distribution: `loss=zero_inflated_negative_binomial`.

Reference: Deep Generative Modeling for Single-cell Transcriptomics (Lopez et al., 2018), methods
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vaelab.distributions.counts import IndependentZeroInflatedNegativeBinomial
from vaelab.likelihoods.negative_binomial import NegativeBinomial

INITIAL_DROPOUT = 0.01


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """Independent counts that are 0 with a probability of their own, else negative binomial.

    p(x_i|z) = s(out_i) [x_i = 0] + (1 - s(out_i)) NB(x_i; m_i, r_i), where s is the sigmoid and
    out_i a second decoder output for each entry. For out_i -> -infinity it is the negative binomial
    distribution. As in scvi-tools, m_i is the exposure times the rate, also with zero inflation.

    `initialize` starts as for `NegativeBinomial`, with 1 % of additional zeros.

    Arguments:
        shape: The shape of one x.
        exposure: total | none, see `CountLikelihood`.
        dispersion: column | pixel, see `NegativeBinomial`.

    Raises:
        UserError: If exposure or dispersion is another word.
    """

    def __init__(self, shape: Sequence[int], exposure: str = "total", dispersion: str = "column"):
        super().__init__(shape, exposure, dispersion, channels=2)

    def make_distribution(
        self, log_rate: Tensor, others: Sequence[Tensor], exposure: Tensor | None
    ) -> IndependentZeroInflatedNegativeBinomial:
        log_r = self.log_dispersion if self.dispersion == "column" else others[-1]
        return IndependentZeroInflatedNegativeBinomial(
            log_rate, log_r, others[0], len(self.shape), exposure
        )

    def initialize_others(self, x: Tensor, mean: Tensor, out: Tensor, shared: bool) -> Tensor:
        rate, *dispersion = super().initialize_others(x, mean, out, shared).split(self.shape[0])
        if self.exposure == "none":
            rate = rate - math.log1p(-INITIAL_DROPOUT)
        logits = torch.full_like(rate, math.log(INITIAL_DROPOUT / (1 - INITIAL_DROPOUT)))
        return torch.cat([rate, logits, *dispersion])
