"""Neural autoregressive flow: `posterior=naf`.

Reference: Neural Autoregressive Flows (Huang et al., 2018), arXiv:1804.00779
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from zuko.distributions import NormalizingFlow
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.neural import MNN
from zuko.transforms import ComposedTransform, SoftclipTransform

from vaelab.posteriors.base import Posterior, check_bound, check_count, diagonal_normal

EDGE = 10.0  # within it zuko inverts a monotonic network


class NAF(Posterior):
    """z_0 ~ N(m(x), diag(s(x)^2)), then z_t,d = f(z_{t-1,d}; what comes before d, h(x)).

    f is a network that rises in its first argument. Before each step z is squeezed into (-10, 10),
    so that the density of any z can be found, by bisection and one pass for each dimension.

    Arguments:
        transforms: The number of steps.
        hidden: The widths of the masked network of a step.
        signal: The number of values by which it steers f.
        context: The length of h(x), an encoder output.
        bound: The largest |log s|.
    """

    support = constraints.real_vector

    def __init__(
        self,
        latent_dim: int,
        transforms: int = 1,
        hidden: Sequence[int] = (128,),
        signal: int = 8,
        context: int = 32,
        bound: float = 7.0,
    ):
        super().__init__()
        check_bound(bound)
        for key, count in (("transforms", transforms), ("signal", signal), ("context", context)):
            check_count(key, count)
        self.parts = [latent_dim, latent_dim, context]
        self.inputs = sum(self.parts)
        self.bound = bound
        forwards = torch.arange(latent_dim)
        self.steps = nn.ModuleList(
            MaskedAutoregressiveTransform(
                latent_dim,
                context,
                order=forwards.flip(0) if step % 2 else forwards,  # type: ignore[arg-type]
                univariate=MNN(signal=signal, stack=latent_dim, hidden_features=(16, 16)),
                shapes=[torch.Size([signal])],
                hidden_features=hidden,
            )
            for step in range(transforms)
        )

    def forward(self, out: Tensor) -> NormalizingFlow:
        mean, raw, context = out.split(self.parts, -1)
        steps = [each for step in self.steps for each in (SoftclipTransform(EDGE), step(context))]
        return NormalizingFlow(
            ComposedTransform(*steps).inv, diagonal_normal(mean, raw, self.bound)
        )
