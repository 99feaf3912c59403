"""Neural autoregressive flow: `posterior=naf`.

Reference: Neural Autoregressive Flows (Huang et al., 2018), equation 8, arXiv:1804.00779
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.transforms import MonotonicTransform

from vaelab.posteriors.autoregressive import AutoregressivePosterior
from vaelab.posteriors.base import check_count

EDGE = 100.0  # between -EDGE and EDGE lies every z_{t-1} that a z is turned back to
FLATTEST = 1e-3  # the least a


class NAF(AutoregressivePosterior):
    """f(z) = logit(sum_i w_i s(a_i z + b_i)), the deep sigmoidal flow; s is the logistic function.

    The masked network gives w (positive, of sum 1), a (positive) and b. f maps the real line onto
    itself; it is turned back by bisection.

    Arguments: As `Autoregressive` has them, and
        sigmoids: The number of terms of the sum.
    """

    def __init__(
        self,
        latent_dim: int,
        transforms: int = 1,
        hidden: Sequence[int] = (128,),
        sigmoids: int = 8,
        context: int = 32,
        bound: float = 7.0,
    ):
        check_count("sigmoids", sigmoids)

        def step(features: int, context: int, **settings: Any) -> nn.Module:
            shapes = [torch.Size([sigmoids])] * 3
            return MaskedAutoregressiveTransform(
                features, context, univariate=_Sigmoidal, shapes=shapes, **settings
            )

        super().__init__(latent_dim, transforms, hidden, context, bound, step)


class _Sigmoidal(MonotonicTransform):
    """f with the raw w, a and b (*, sigmoids) of a masked network; all in logarithms."""

    def __init__(self, w: Tensor, a: Tensor, b: Tensor):
        self.log_w, self.a, self.b = w.log_softmax(-1), FLATTEST + softplus(a), b
        super().__init__(phi=(self.log_w, self.a, self.b), bound=EDGE)

    def f(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f(x) and ln f'(x), where p = sum_i w_i s(a_i x + b_i) and f' = p' / (p (1 - p))."""
        terms = self.a * x.unsqueeze(-1) + self.b
        up, down = self.log_w + logsigmoid(terms), self.log_w + logsigmoid(-terms)
        log_p, log_rest = up.logsumexp(-1), down.logsumexp(-1)
        log_slope = (up + logsigmoid(-terms) + self.a.log()).logsumexp(-1)
        return log_p - log_rest, log_slope - log_p - log_rest
