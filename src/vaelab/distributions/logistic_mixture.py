"""A mixture of discretized logistics whose channels are conditioned on one another."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints
from torch.nn.functional import one_hot

from vaelab.distributions.discretized_logistic import clipped_mean, log_mass, sample_levels


class IndependentLogisticMixture(Distribution):
    """P(x) = prod over places of sum_k w_k prod_c P(x_c; loc_kc + sum_{j<c} a_kcj x_j, scale_kc).

    All of these vary from place to place; the places are the last `dims` - 1 dimensions of each.

    Arguments:
        logits: Of w, (*, K, *places).
        loc, scale: (*, K, C, *places).
        coefficients: a, (*, K, C (C - 1) / 2, *places), in the order (1, 0), (2, 0), (2, 1) ...
    """

    support: Any = constraints.unit_interval

    def __init__(
        self, logits: Tensor, loc: Tensor, scale: Tensor, coefficients: Tensor, dims: int = 3
    ):
        self.logits, self.loc, self.scale = logits, loc, scale
        self.coefficients, self.dims = coefficients, dims
        cut = logits.ndim - dims
        event = torch.Size((loc.shape[-dims], *logits.shape[cut + 1 :]))
        super().__init__(logits.shape[:cut], event, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """To within half a level for the first channel; the others see the mean of those before."""
        x = self._channels(self.loc, self.scale, self.coefficients, clipped_mean)
        weights = self.logits.softmax(-self.dims).unsqueeze(-self.dims)
        return (weights * x).sum(-self.dims - 1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        last = self.logits.movedim(-self.dims, -1)
        chosen = Categorical(logits=last).sample(sample_shape)
        pick = one_hot(chosen, last.shape[-1]).movedim(-1, -self.dims).unsqueeze(-self.dims)
        loc, scale, coefficients = (
            (pick * each).sum(-self.dims - 1) for each in (self.loc, self.scale, self.coefficients)
        )
        return self._channels(loc, scale, coefficients, sample_levels)

    def log_prob(self, value: Tensor) -> Tensor:
        x = iter(value.unsqueeze(-self.dims - 1).unbind(-self.dims))
        of_components = self.logits.log_softmax(-self.dims)

        def weigh(loc: Tensor, scale: Tensor) -> Tensor:
            nonlocal of_components
            here = next(x)
            of_components = of_components + log_mass(here, loc, scale)
            return here

        self._channels(self.loc, self.scale, self.coefficients, weigh)
        total = of_components.logsumexp(-self.dims)
        return total.flatten(total.ndim - self.dims + 1).sum(-1) if self.dims > 1 else total

    def _channels(
        self,
        loc: Tensor,
        scale: Tensor,
        coefficients: Tensor,
        value: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """x_c = value(loc_c + sum_{j<c} a_cj x_j, scale_c), for one channel after another."""
        found: list[Tensor] = []
        pairs = iter(coefficients.unbind(-self.dims))
        for middle, width in zip(loc.unbind(-self.dims), scale.unbind(-self.dims), strict=True):
            middle = middle + sum(next(pairs) * x for x in found)
            found.append(value(middle, width))
        return torch.stack(found, -self.dims)
