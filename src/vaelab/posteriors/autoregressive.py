"""Base class of autoregressive flow posteriors: `posterior=iaf` and `posterior=naf`."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from zuko.distributions import NormalizingFlow
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.transforms import ComposedTransform

from vaelab.posteriors.base import Posterior, check_bound, check_count, diagonal_normal


class AutoregressivePosterior(Posterior):
    """The posterior of z_T, a normal variable transformed by T autoregressive steps.

    z_0 ~ N(m(x), diag(s(x)^2)), then z_{t,d} = f(z_{t-1,d}; z_{t-1,1} ... z_{t-1,d-1}, h(x)).

    The order of the dimensions is reversed in every second step. Sampling z and computing the
    density of the sample take one pass. The density of any other z takes one pass for each
    dimension, and its rounding errors accumulate over these passes.

    Arguments:
        latent_dim: D.
        transforms: The number of steps T.
        hidden: The widths of the hidden layers of the masked network of a step.
        context: The length of h(x), which is a part of the encoder output.
        bound: The largest |log s|.
        make_step: Builds a step from latent_dim, context, order and hidden_features. The default is
            an affine f.

    Raises:
        UserError: If transforms, context or bound is out of range.
    """

    support = constraints.real_vector
    has_exact_density = False

    def __init__(
        self,
        latent_dim: int,
        transforms: int,
        hidden: Sequence[int],
        context: int,
        bound: float,
        make_step: Callable[..., nn.Module] = MaskedAutoregressiveTransform,
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
            make_step(latent_dim, context, order=order, hidden_features=hidden) for order in orders
        )

    def forward(self, out: Tensor) -> NormalizingFlow:
        mean, raw, context = out.split(self.parts, -1)
        flow = ComposedTransform(*(step(context) for step in self.steps))
        return NormalizingFlow(flow.inv, diagonal_normal(mean, raw, self.bound))
