"""The normal distribution: `loss=mse` (fixed scale), `loss=gaussian` (learned, optimal, pixel).

References:
    Simple and Effective VAE Training with Calibrated Decoders (Rybkin et al., 2021),
    arXiv:2006.13202
    Don't Blame the ELBO! (Lucas et al., 2019), arXiv:1911.02469
    Auto-Encoding Variational Bayes (Kingma and Welling, 2014), appendix C.2, for one scale per
    pixel, arXiv:1312.6114
"""

from collections.abc import Sequence

from torch import Tensor

from vaelab.distributions.normal import DiagonalNormal
from vaelab.likelihoods.scaled import LocationScaleLikelihood


class Gaussian(LocationScaleLikelihood):
    """Independent normal pixels about the decoder output.

    -log p(x|z) = SSE / (2 scale^2) + D ln(scale) + D/2 ln 2 pi, where SSE is the sum of squared
    errors of the D pixels.

    Arguments:
        shape: The shape of one x.
        scale: The standard deviation, see `LocationScaleLikelihood`. The optimal one is the root
            mean squared error.
    """

    def __init__(self, shape: Sequence[int], scale: float | str = 1.0):
        super().__init__(shape, scale)

    def make_distribution(self, location: Tensor, scale: Tensor) -> DiagonalNormal:
        return DiagonalNormal(location, scale.log(), len(self.shape))

    def fit_scale(self, mean_error: Tensor) -> Tensor:
        """Compute the root of the mean squared error."""
        return mean_error.sqrt()
