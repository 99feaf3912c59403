"""The Poisson distribution: `loss=poisson`.

Reference: Variational Autoencoders for Collaborative Filtering (Liang et al., 2018), section 2.1,
for counts given their total, arXiv:1802.05814
"""

from collections.abc import Sequence

from torch import Tensor

from vaelab.distributions.counts import IndependentPoisson
from vaelab.likelihoods.count import CountLikelihood


class Poisson(CountLikelihood):
    """Independent counts with the Poisson distribution.

    log p(x|z) = sum_i x_i ln m_i - m_i - ln x_i!, where m_i is the exposure times the rate.

    Given the total and with exposure="total" it is, up to a term that does not depend on z, the
    multinomial distribution of x given its total.

    Arguments:
        shape: The shape of one x.
        exposure: total | none, see `CountLikelihood`.
    """

    def __init__(self, shape: Sequence[int], exposure: str = "total"):
        super().__init__(shape, exposure)

    def make_distribution(
        self, log_rate: Tensor, others: Sequence[Tensor], exposure: Tensor | None
    ) -> IndependentPoisson:
        return IndependentPoisson(log_rate, len(self.shape), exposure)
