"""A mixture of logistics, cut into 256 levels: `loss=logistic_mixture`.

Reference: PixelCNN++ (Salimans et al., 2017), sections 2.1 and 2.2, arXiv:1701.05517
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import softplus

from vaelab.distributions import logistic_mixture
from vaelab.likelihoods.base import Likelihood

FLOOR = 1 / 1024  # of a scale: a quarter of a level
MOST_CHANNELS = 4


class LogisticMixture(Likelihood):
    """For every place a mixture over its channels, each conditioned linearly on those before it.

    The decoder gives the weights, and for each component a location and a scale of every channel
    and the coefficient, squashed by tanh, of every pair of channels.

    Arguments:
        components: Of the mixture (10 in the paper, for a net far larger than these).
    """

    support = constraints.unit_interval
    pixels = "levels"

    def __init__(self, shape: Sequence[int], components: int = 5):
        super().__init__(shape)
        self.channels = shape[0]
        if components < 1:
            raise ValueError(f"loss.components={components}: it must be at least 1")
        if self.channels > MOST_CHANNELS:
            raise ValueError(
                f"loss=logistic_mixture conditions the channels of pictures on one another, at "
                f"most {MOST_CHANNELS}, not {self.channels}: set loss=discretized_logistic"
            )
        self.components = components
        pairs = self.channels * (self.channels - 1) // 2
        self.parts = [1, self.channels, self.channels, pairs]
        self.outputs = components * sum(self.parts)

    def forward(self, out: Tensor) -> logistic_mixture.IndependentLogisticMixture:
        dims = len(self.shape)
        each = out.unflatten(-dims, (self.components, sum(self.parts)))
        logits, loc, raw, coefficients = each.split(self.parts, -dims)
        return logistic_mixture.IndependentLogisticMixture(
            logits.squeeze(-dims), loc, FLOOR + softplus(raw), coefficients.tanh(), dims
        )

    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        """Components in the middle of equal shares of all pixels, with no conditioning."""
        shares = (torch.arange(self.components) + 0.5) / self.components
        values = x.transpose(0, 1).flatten(1).double()
        places = (shares * (values.shape[1] - 1)).round().long()
        out = torch.zeros(self.components, sum(self.parts), *x.shape[2:]).to(x)
        middles = values.sort(1).values[:, places].T.to(x)
        scale = values.std(1).clamp(min=FLOOR).to(x) / 2
        filled = (..., *[None] * (x.ndim - 2))
        out[:, 1 : 1 + self.channels] = middles[filled]
        raw = scale + torch.log(-torch.expm1(-scale))
        out[:, 1 + self.channels : 1 + 2 * self.channels] = raw[filled]
        return out.flatten(0, 1)
