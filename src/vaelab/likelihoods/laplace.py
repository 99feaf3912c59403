"""The Laplace distribution, or absolute error: `loss=laplace`.

Reference: Simple and Effective VAE Training with Calibrated Decoders (Rybkin et al., 2021),
section 3, with the absolute instead of the squared error, arXiv:2006.13202
"""

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Laplace as TorchLaplace

from vaelab.likelihoods.scaled import LocationScaleLikelihood


class Laplace(LocationScaleLikelihood):
    """Independent Laplace-distributed pixels about the decoder output.

    -log p(x|z) = sum_i |x_i - out_i| / scale + D ln(2 scale) for D pixels.

    Arguments:
        shape: The shape of one x.
        scale: See `LocationScaleLikelihood`. The optimal one is the mean absolute error.
    """

    def __init__(self, shape: Sequence[int], scale: float | str = "learned"):
        super().__init__(shape, scale)

    def make_distribution(self, location: Tensor, scale: Tensor) -> Distribution:
        elements = TorchLaplace(location, scale, validate_args=False)
        return Independent(elements, len(self.shape), validate_args=False)

    def error_statistic(self, error: Tensor) -> Tensor:
        """Compute the absolute error."""
        return error.abs()

    def fit_scale(self, mean_error: Tensor) -> Tensor:
        """Return the mean absolute error."""
        return mean_error

    def fit_location(self, x: Tensor, shared: bool) -> Tensor:
        """Compute the median image of x."""
        if not shared:
            return x.median(0).values
        medians = x.transpose(0, 1).flatten(1).median(1).values
        return medians.reshape(-1, *[1] * (x.ndim - 2)).expand(x.shape[1:])
