"""Mixtures of distributions of one family."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from vaelab.distributions.normal import HALF_LOG_TAU, DiagonalNormal


def make_mixture(logits: Tensor, components: Distribution) -> MixtureSameFamily:
    """sum_k softmax(logits)_k components_k, for components of batch shape (K,)."""
    family = NormalMixture if isinstance(components, DiagonalNormal) else MixtureSameFamily
    return family(Categorical(logits=logits, validate_args=False), components, validate_args=False)


class NormalMixture(MixtureSameFamily):
    """Of diagonal normals: |(z - m_k) / s_k|^2 for all z and k by matrix products.

    That takes a tenth of the time that all differences take. The products are in float64, whose
    digits are enough for what cancels.
    """

    def log_prob(self, x: Tensor) -> Tensor:
        components: Any = self.component_distribution
        mean, log_scale = components.loc.double(), components.log_scale.double()
        precision, z = (-2 * log_scale).exp(), x.double()
        squares = z.square() @ precision.T - 2 * z @ (mean * precision).T
        squares = squares + (mean.square() * precision).sum(-1)
        log_p = -0.5 * squares - (log_scale + HALF_LOG_TAU).sum(-1)
        log_weights = self.mixture_distribution.logits.log_softmax(-1)
        return torch.logsumexp(log_p + log_weights, -1).to(x.dtype)
