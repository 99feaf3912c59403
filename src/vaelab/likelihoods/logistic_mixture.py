"""A mixture of logistic distributions, discretized to 256 levels: `loss=logistic_mixture`.

Reference: PixelCNN++ (Salimans et al., 2017), sections 2.1 and 2.2, arXiv:1701.05517
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import softplus

from vaelab.distributions import logistic_mixture
from vaelab.likelihoods.base import Likelihood
from vaelab.runtime.errors import UserError
from vaelab.runtime.precision import to_double

MIN_SCALE = 1 / 1024  # about a quarter of a level
MAX_CHANNELS = 4


class LogisticMixture(Likelihood):
    """Independent positions, each with a mixture of discretized logistics over its channels.

    Within a component, the location of a channel depends linearly on the preceding channels. The
    decoder outputs are, for each position and component: the logit of the weight, the location and
    scale of every channel, and for every pair of channels the coefficient, before a tanh.

    Arguments:
        shape: The shape of one x, with at most 4 channels.
        components: The number of components (10 in the paper, for a much larger network).

    Raises:
        UserError: If components is below 1 or there are more than 4 channels.
    """

    support = constraints.unit_interval
    pixels = "levels"

    def __init__(self, shape: Sequence[int], components: int = 5):
        super().__init__(shape)
        self.channels = shape[0]
        if components < 1:
            raise UserError(f"loss.components={components}: it must be at least 1")
        if self.channels > MAX_CHANNELS:
            raise UserError(
                f"loss=logistic_mixture conditions the channels of images on one another and takes "
                f"at most {MAX_CHANNELS}, not {self.channels}: set loss=discretized_logistic"
            )
        self.components = components
        pairs = self.channels * (self.channels - 1) // 2
        self.parts = [1, self.channels, self.channels, pairs]
        self.outputs = components * sum(self.parts)

    def forward(self, out: Tensor) -> logistic_mixture.IndependentLogisticMixture:
        dims = len(self.shape)
        components = out.unflatten(-dims, (self.components, sum(self.parts)))
        logits, loc, raw, coefficients = components.split(self.parts, -dims)
        return logistic_mixture.IndependentLogisticMixture(
            logits.squeeze(-dims), loc, MIN_SCALE + softplus(raw), coefficients.tanh(), dims
        )

    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        """Compute equally weighted components at quantiles of the pixels, without conditioning."""
        quantiles = (torch.arange(self.components) + 0.5) / self.components
        values = to_double(x.transpose(0, 1).flatten(1))
        ranks = (quantiles * (values.shape[1] - 1)).round().long()
        out = torch.zeros(self.components, sum(self.parts), *x.shape[2:]).to(x)
        locations = values.sort(1).values[:, ranks].T.to(x)
        scale = values.std(1).clamp(min=MIN_SCALE).to(x) / 2
        broadcast = (..., *[None] * (x.ndim - 2))
        out[:, 1 : 1 + self.channels] = locations[broadcast]
        raw = scale + torch.log(-torch.expm1(-scale))
        out[:, 1 + self.channels : 1 + 2 * self.channels] = raw[broadcast]
        return out.flatten(0, 1)
