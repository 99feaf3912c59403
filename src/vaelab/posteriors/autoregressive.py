"""What `posterior=iaf` and `posterior=naf` have in common."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from zuko.distributions import NormalizingFlow
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.transforms import ComposedTransform

from vaelab.posteriors.base import Posterior, check_bound, check_count, diagonal_normal


class AutoregressivePosterior(Posterior):
    """z_0 ~ N(m(x), diag(s(x)^2)), then z_t,d = f(z_{t-1,d}; the z_{t-1} before d, h(x)).

    The order turns round from step to step. A draw and its density take one pass, the density of
    another z takes one pass for each dimension, and its rounding errors grow from one to the next.

    Arguments:
        transforms: The number of steps.
        hidden: The widths of the masked network of a step.
        context: The length of h(x), an encoder output.
        bound: The largest |log s|.
        step: Makes a step from latent_dim, context, order and hidden_features; by default f is
            affine.
    """

    support = constraints.real_vector
    exact_density = False

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
        order = torch.arange(latent_dim)
        orders = [order.flip(0) if t % 2 else order for t in range(transforms)]
        self.steps = nn.ModuleList(
            step(latent_dim, context, order=order, hidden_features=hidden) for order in orders
        )

    def forward(self, out: Tensor) -> NormalizingFlow:
        mean, raw, context = out.split(self.parts, -1)
        flow = ComposedTransform(*(step(context) for step in self.steps))
        return NormalizingFlow(flow.inv, diagonal_normal(mean, raw, self.bound))
