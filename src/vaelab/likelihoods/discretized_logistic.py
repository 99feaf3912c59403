"""Logistic, cut into 256 levels: `loss=discretized_logistic`.

Reference: Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
appendix C.1, arXiv:1606.04934
"""

import math
from collections.abc import Sequence

from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions import discretized_logistic
from vaelab.likelihoods.scaled import Scaled


class DiscretizedLogistic(Scaled):
    """A probability of every level: of a logistic variable about `out`, what rounds to it.

    Arguments:
        scale: As `Scaled` has it; "optimal" has no closed form here. The floor is a quarter of a
            level, below which the level that out lies in has all.
    """

    support = constraints.unit_interval
    pixels = "levels"
    floor = 1 / 1024
    kinds = ("learned", "pixel")

    def __init__(self, shape: Sequence[int], scale: float | str = "learned"):
        super().__init__(shape, scale)

    def around(
        self, location: Tensor, scale: Tensor
    ) -> discretized_logistic.IndependentDiscretizedLogistic:
        return discretized_logistic.IndependentDiscretizedLogistic(location, scale, len(self.shape))

    def fit(self, deviation: Tensor) -> Tensor:
        """The scale at which the variance, (pi scale)^2 / 3, is that of the errors."""
        return (3 * deviation).sqrt() / math.pi
