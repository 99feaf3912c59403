"""What `posterior=iaf` and `posterior=naf` have in common."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from zuko.distributions import NormalizingFlow
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.transforms import ComposedTransform

from vaelab.posteriors.base import Posterior, check_bound, check_count, diagonal_normal


class Autoregressive(Posterior):
    """z_0 ~ N(m(x), diag(s(x)^2)), then z_t,d = f(z_{t-1,d}; the z_{t-1} before d, h(x)).

    The order turns round from step to step. A draw and its density take one pass, the density of
    another z takes one pass for each dimension.

    Arguments:
        transforms: The number of steps.
        hidden: The widths of the masked network of a step.
        context: The length of h(x), an encoder output.
        bound: The largest |log s|.
        step: Makes a step from latent_dim, context, order and hidden_features; by default f is
            affine.
    """

    support = constraints.real_vector

    def __init__(
        self,
        latent_dim: int,
        transforms: int,
        hidden: Sequence[int],
        context: int,
        bound: float,
        step: Callable[..., nn.Module] = MaskedAutoregressiveTransform,
    ):
        super().__init__()
        check_bound(bound)
        check_count("transforms", transforms)
        check_count("context", context)
        self.parts = [latent_dim, latent_dim, context]
        self.inputs = sum(self.parts)
        self.bound = bound
        order: Any = torch.arange(latent_dim)
        self.steps = nn.ModuleList(
            step(
                latent_dim, context, order=order.flip(0) if t % 2 else order, hidden_features=hidden
            )
            for t in range(transforms)
        )

    def forward(self, out: Tensor) -> NormalizingFlow:
        mean, raw, context = out.split(self.parts, -1)
        flow = ComposedTransform(*self.flow(context))
        return NormalizingFlow(flow.inv, diagonal_normal(mean, raw, self.bound))

    def flow(self, context: Tensor) -> list[Transform]:
        """The steps from z_0 to z."""
        return [step(context) for step in self.steps]
