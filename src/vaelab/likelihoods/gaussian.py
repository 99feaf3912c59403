"""Normal: `loss=mse` (of fixed scale) and `loss=gaussian` (learned | optimal | pixel).

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
from vaelab.likelihoods.scaled import Scaled


class Gaussian(Scaled):
    """-log p(x|z) = SSE / (2 scale^2) + D ln(scale) + D/2 ln 2 pi.

    Arguments:
        scale: As `Scaled` has it; the optimal one is the root mean squared error.
    """

    def __init__(self, shape: Sequence[int], scale: float | str = 1.0):
        super().__init__(shape, scale)

    def around(self, location: Tensor, scale: Tensor) -> DiagonalNormal:
        return DiagonalNormal(location, scale.log(), len(self.shape))

    def fit(self, deviation: Tensor) -> Tensor:
        return deviation.sqrt()
