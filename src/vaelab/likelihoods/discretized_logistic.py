"""The logistic distribution, discretized to 256 levels: `loss=discretized_logistic`.

Reference: Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
appendix C.1, arXiv:1606.04934
"""

import math
from collections.abc import Sequence

from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions import discretized_logistic
from vaelab.likelihoods.scaled import LocationScaleLikelihood


class DiscretizedLogistic(LocationScaleLikelihood):
    """Independent logistic pixels about the decoder output, rounded to the nearest of 256 levels.

    Arguments:
        shape: The shape of one x.
        scale: See `LocationScaleLikelihood`. "optimal" is not available because it has no closed
            form. The lowest scale is about a quarter of a level; at smaller scales a single level
            has almost all of the probability.
    """

    support = constraints.unit_interval
    pixels = "levels"
    min_scale = 1 / 1024
    scale_options = ("learned", "pixel")

    def __init__(self, shape: Sequence[int], scale: float | str = "learned"):
        super().__init__(shape, scale)

    def make_distribution(
        self, location: Tensor, scale: Tensor
    ) -> discretized_logistic.IndependentDiscretizedLogistic:
        return discretized_logistic.IndependentDiscretizedLogistic(location, scale, len(self.shape))

    def fit_scale(self, mean_error: Tensor) -> Tensor:
        """Compute the scale for which the variance (pi scale)^2 / 3 is the mean squared error."""
        return (3 * mean_error).sqrt() / math.pi
