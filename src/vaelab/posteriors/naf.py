"""Neural autoregressive flow: `posterior=naf`.

Reference: Neural Autoregressive Flows (Huang et al., 2018), arXiv:1804.00779
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Transform
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.neural import MNN
from zuko.transforms import SoftclipTransform

from vaelab.posteriors.autoregressive import Autoregressive
from vaelab.posteriors.base import check_count

EDGE = 10.0  # within it zuko inverts a monotonic network


class NAF(Autoregressive):
    """Steps by a network that rises with z_{t-1,d}.

    Before each step z is squeezed into (-10, 10), so that the density of any z can be found, by
    bisection.

    Arguments: As `Autoregressive` has them, and
        signal: The number of values by which the masked network steers the rising one.
    """

    def __init__(
        self,
        latent_dim: int,
        transforms: int = 1,
        hidden: Sequence[int] = (128,),
        signal: int = 8,
        context: int = 32,
        bound: float = 7.0,
    ):
        check_count("signal", signal)

        def step(features: int, context: int, **settings: Any) -> nn.Module:
            rising = MNN(signal=signal, stack=latent_dim, hidden_features=(16, 16))
            shapes = [torch.Size([signal])]
            return MaskedAutoregressiveTransform(
                features, context, univariate=rising, shapes=shapes, **settings
            )

        super().__init__(latent_dim, transforms, hidden, context, bound, step)

    def flow(self, context: Tensor) -> list[Transform]:
        return [each for step in super().flow(context) for each in (SoftclipTransform(EDGE), step)]
