"""Inverse autoregressive flow: `posterior=iaf`.

Reference: Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
equations 9 to 11, arXiv:1606.04934
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from zuko.distributions import NormalizingFlow
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.transforms import ComposedTransform

from vaelab.posteriors.base import Posterior, check_bound, check_count, diagonal_normal


class IAF(Posterior):
    """z_0 ~ N(m(x), diag(s(x)^2)), then z_t = m_t(z_{t-1}, h(x)) + s_t(z_{t-1}, h(x)) z_{t-1}.

    Component d of m_t and s_t sees only the components before d, in an order that turns round
    from step to step: a draw and its density take one pass, the density of another z takes one
    pass for each dimension.

    Arguments:
        transforms: The number of steps.
        hidden: The widths of the masked network of a step.
        context: The length of h(x), an encoder output.
        bound: The largest |log s|.
    """

    support = constraints.real_vector

    def __init__(
        self,
        latent_dim: int,
        transforms: int = 2,
        hidden: Sequence[int] = (128,),
        context: int = 32,
        bound: float = 7.0,
    ):
        super().__init__()
        check_bound(bound)
        check_count("transforms", transforms)
        check_count("context", context)
        self.parts = [latent_dim, latent_dim, context]
        self.inputs = sum(self.parts)
        self.bound = bound
        forwards = torch.arange(latent_dim)
        self.steps = nn.ModuleList(
            MaskedAutoregressiveTransform(
                latent_dim,
                context,
                order=forwards.flip(0) if step % 2 else forwards,  # type: ignore[arg-type]
                hidden_features=hidden,
            )
            for step in range(transforms)
        )

    def forward(self, out: Tensor) -> NormalizingFlow:
        mean, raw, context = out.split(self.parts, -1)
        steps = ComposedTransform(*(step(context) for step in self.steps))
        return NormalizingFlow(steps.inv, diagonal_normal(mean, raw, self.bound))
