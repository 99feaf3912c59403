"""Laplace, or absolute error: `loss=laplace`.

Reference: Simple and Effective VAE Training with Calibrated Decoders (Rybkin et al., 2021),
section 3 with another norm, arXiv:2006.13202
"""

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Laplace as Elements

from vaelab.likelihoods.scaled import Scaled


class Laplace(Scaled):
    """-log p(x|z) = sum_i |x_i - out_i| / scale + D ln(2 scale).

    Arguments:
        scale: As `Scaled` has it; the optimal one is the mean absolute error.
    """

    def __init__(self, shape: Sequence[int], scale: float | str = "learned"):
        super().__init__(shape, scale)

    def around(self, location: Tensor, scale: Tensor) -> Distribution:
        elements = Elements(location, scale, validate_args=False)
        return Independent(elements, len(self.shape), validate_args=False)

    def error_statistic(self, error: Tensor) -> Tensor:
        return error.abs()

    def fit(self, deviation: Tensor) -> Tensor:
        return deviation

    def center(self, x: Tensor, shared: bool) -> Tensor:
        if not shared:
            return x.median(0).values
        medians = x.transpose(0, 1).flatten(1).median(1).values
        return medians.reshape(-1, *[1] * (x.ndim - 2)).expand(x.shape[1:])
