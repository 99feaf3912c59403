"""The point mass, for deterministic encoders."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class PointMass(Distribution):
    """The point mass at mean (*, D).

    It has no density, so neither `log_prob` nor the KL divergence is defined.
    """

    has_rsample = True
    support: Any = constraints.real_vector

    def __init__(self, mean: Tensor):
        self.loc = mean
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.loc.expand(*sample_shape, *self.loc.shape)
