"""Mixtures whose components belong to one family of distributions."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from vaelab.distributions.normal import HALF_LOG_TAU, DiagonalNormal
from vaelab.runtime.precision import to_double


def make_mixture(logits: Tensor, components: Distribution) -> MixtureSameFamily:
    """Return the mixture sum_k softmax(logits)_k components_k.

    Arguments:
        logits: (K,).
        components: Distributions with batch shape (K,).
    """
    family = NormalMixture if isinstance(components, DiagonalNormal) else MixtureSameFamily
    return family(Categorical(logits=logits, validate_args=False), components, validate_args=False)


class NormalMixture(MixtureSameFamily):
    """A mixture of diagonal normals with a fast log_prob.

    It expands |(z - m_k) / s_k|^2 into matrix products, which take a tenth of the time of the
    differences. The products are computed in float64 because the expansion cancels digits.
    """

    def log_prob(self, x: Tensor) -> Tensor:
        components: Any = self.component_distribution
        mean, log_scale = to_double(components.loc), to_double(components.log_scale)
        precision, z = (-2 * log_scale).exp(), to_double(x)
        squares = z.square() @ precision.T - 2 * z @ (mean * precision).T
        squares = squares + (mean.square() * precision).sum(-1)
        log_p = -0.5 * squares - (log_scale + HALF_LOG_TAU).sum(-1)
        log_weights = to_double(self.mixture_distribution.logits.log_softmax(-1))
        return torch.logsumexp(log_p + log_weights, -1).to(x)
