"""The negative binomial distribution: `loss=negative_binomial`.

Reference: Deep Generative Modeling for Single-cell Transcriptomics (Lopez et al., 2018), methods
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaelab.distributions.counts import IndependentNegativeBinomial
from vaelab.likelihoods.base import compute_mean_image
from vaelab.likelihoods.count import CountLikelihood
from vaelab.runtime.errors import UserError

MIN_INITIAL, MAX_INITIAL = 1e-2, 1e3  # of the inverse dispersion


class NegativeBinomial(CountLikelihood):
    """Independent counts with the negative binomial distribution.

    log p(x|z) = sum_i ln G(x_i + r_i) - ln G(r_i) - ln x_i! + r_i ln r_i/(r_i + m_i)
    + x_i ln m_i/(r_i + m_i), where G is the gamma function, m_i is the exposure times the rate and
    r_i the inverse dispersion. The variance is m_i + m_i^2 / r_i; for r_i -> infinity it is the
    Poisson distribution.

    `initialize` sets the rates to those of greatest likelihood for exposure="none", or for equal
    totals, and the dispersion from the variance of the data.

    Arguments:
        shape: The shape of one x.
        exposure: total | none, see `CountLikelihood`.
        dispersion: "column" is one parameter r_i for each entry of x, the same for all rows;
            "pixel" is a second decoder output.
        channels: The number of decoder outputs for each entry of x, besides that of "pixel".

    Raises:
        UserError: If exposure or dispersion is another word.
    """

    def __init__(
        self,
        shape: Sequence[int],
        exposure: str = "total",
        dispersion: str = "column",
        channels: int = 1,
    ):
        if dispersion not in ("column", "pixel"):
            raise UserError(f"loss.dispersion={dispersion}: choose from column, pixel")
        super().__init__(shape, exposure, channels + (dispersion == "pixel"))
        self.dispersion = dispersion
        if dispersion == "column":
            self.log_dispersion = nn.Parameter(torch.zeros(*shape))

    def make_distribution(
        self, log_rate: Tensor, others: Sequence[Tensor], exposure: Tensor | None
    ) -> IndependentNegativeBinomial:
        log_r = self.log_dispersion if self.dispersion == "column" else others[-1]
        return IndependentNegativeBinomial(log_rate, log_r, len(self.shape), exposure)

    def initialize_others(self, x: Tensor, mean: Tensor, out: Tensor, shared: bool) -> Tensor:
        """Initialize r so that the variance of the data is that of the distribution."""
        excess = compute_mean_image((x - mean).square() - mean, shared)
        squares = compute_mean_image(mean.square(), shared)
        r = (squares / excess.clamp(min=1e-12)).clamp(MIN_INITIAL, MAX_INITIAL)
        if self.dispersion == "pixel":
            return torch.cat([out, r.log()])
        self.log_dispersion.copy_(r.log())
        return out
