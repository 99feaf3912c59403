"""A mixture of discretized logistics with conditioning between channels."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, constraints
from torch.nn.functional import one_hot

from vaelab.distributions.base import FactorizedDistribution
from vaelab.distributions.discretized_logistic import clipped_mean, log_mass, sample_levels
from vaelab.runtime.errors import UserError


class IndependentLogisticMixture(FactorizedDistribution):
    """Independent positions, each with a mixture of K discretized logistics over its C channels.

    P(x) = sum_k w_k prod_c P(x_c; loc_kc + sum_{j<c} a_kcj x_j, scale_kc) at each position, where
    P(x_c; loc, scale) is the discretized logistic. All parameters vary with the position.

    Arguments:
        logits: The logits of the weights w (*batch, K, *positions).
        loc, scale: (*batch, K, C, *positions).
        coefficients: a (*batch, K, C (C - 1) / 2, *positions), in the order (c, j) = (1, 0),
            (2, 0), (2, 1), ...
        dims: The number of event dimensions; the event is (C, *positions).
    """

    support: Any = constraints.unit_interval

    def __init__(
        self, logits: Tensor, loc: Tensor, scale: Tensor, coefficients: Tensor, dims: int = 3
    ):
        self.logits, self.loc, self.scale = logits, loc, scale
        self.coefficients, self.dims = coefficients, dims
        super().__init__(loc.select(-dims - 1, 0), dims)

    @property
    def mean(self) -> Tensor:
        """An approximation of the mean.

        The first channel is accurate to half a level. The other channels are conditioned on the
        means of the preceding channels instead of their values.
        """
        x = self._map_channels(self.loc, self.scale, self.coefficients, clipped_mean)
        weights = self.logits.softmax(-self.dims).unsqueeze(-self.dims)
        return (weights * x).sum(-self.dims - 1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        logits = self.logits.movedim(-self.dims, -1)
        component = Categorical(logits=logits).sample(sample_shape)
        selection = one_hot(component, logits.shape[-1]).movedim(-1, -self.dims)
        selection = selection.unsqueeze(-self.dims)
        loc, scale, coefficients = (
            (selection * parameter).sum(-self.dims - 1)
            for parameter in (self.loc, self.scale, self.coefficients)
        )
        return self._map_channels(loc, scale, coefficients, sample_levels)

    def log_prob(self, value: Tensor) -> Tensor:
        channels = iter(value.unsqueeze(-self.dims - 1).unbind(-self.dims))
        log_p = self.logits.log_softmax(-self.dims)

        def add_log_mass(loc: Tensor, scale: Tensor) -> Tensor:
            nonlocal log_p
            x = next(channels)
            log_p = log_p + log_mass(x, loc, scale)
            return x

        self._map_channels(self.loc, self.scale, self.coefficients, add_log_mass)
        return self.sum_over_event(log_p.logsumexp(-self.dims, keepdim=True))

    def log_prob_of_observed(self, value: Tensor) -> Tensor:
        """Compute the log probability of the elements of value that are not NaN.

        Raises:
            UserError: If there are several channels, because they depend on one another.
        """
        if self.event_shape[0] > 1:
            raise UserError(
                "loss=logistic_mixture conditions the channels of a pixel on one another, so that "
                f"none of the {self.event_shape[0]} may be missing: set loss=discretized_logistic"
            )
        return super().log_prob_of_observed(value)

    def _map_channels(
        self,
        loc: Tensor,
        scale: Tensor,
        coefficients: Tensor,
        get_value: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Compute x_c = get_value(loc_c + sum_{j<c} a_cj x_j, scale_c) for c = 0, 1, ..., C - 1."""
        channels: list[Tensor] = []
        remaining = iter(coefficients.unbind(-self.dims))
        for loc_c, scale_c in zip(loc.unbind(-self.dims), scale.unbind(-self.dims), strict=True):
            loc_c = loc_c + sum(next(remaining) * x for x in channels)
            channels.append(get_value(loc_c, scale_c))
        return torch.stack(channels, -self.dims)
