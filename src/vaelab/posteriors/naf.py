"""The neural autoregressive flow: `posterior=naf`.

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

BISECTION_BOUND = 100.0  # the inverse of a step is searched in [-BISECTION_BOUND, BISECTION_BOUND]
MIN_SLOPE = 1e-3  # lower bound of a_i


class NAF(AutoregressivePosterior):
    """The posterior of a deep sigmoidal flow, f(z) = logit(sum_i w_i s(a_i z + b_i)).

    s is the sigmoid. The masked network returns w (positive, with sum 1), a (positive) and b. f
    maps the real line onto itself and is inverted by bisection.

    Arguments: See `AutoregressivePosterior`, and
        sigmoids: The number of terms of the sum.

    Raises:
        UserError: If an argument is out of range.
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

        def make_step(features: int, context: int, **settings: Any) -> nn.Module:
            shapes = [torch.Size([sigmoids])] * 3
            return MaskedAutoregressiveTransform(
                features, context, univariate=_SigmoidalTransform, shapes=shapes, **settings
            )

        super().__init__(latent_dim, transforms, hidden, context, bound, make_step)


class _SigmoidalTransform(MonotonicTransform):
    """The map f for unconstrained w, a and b (*, sigmoids), computed in logarithms."""

    def __init__(self, w: Tensor, a: Tensor, b: Tensor):
        self.log_w, self.a, self.b = w.log_softmax(-1), MIN_SLOPE + softplus(a), b
        super().__init__(phi=(self.log_w, self.a, self.b), bound=BISECTION_BOUND)

    def f(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute f(x) and ln f'(x).

        f' = p' / (p (1 - p)) for p = sum_i w_i s(a_i x + b_i).
        """
        terms = self.a * x.unsqueeze(-1) + self.b
        log_s, log_not_s = self.log_w + logsigmoid(terms), self.log_w + logsigmoid(-terms)
        log_p, log_not_p = log_s.logsumexp(-1), log_not_s.logsumexp(-1)
        log_slope = (log_s + logsigmoid(-terms) + self.a.log()).logsumexp(-1)
        return log_p - log_not_p, log_slope - log_p - log_not_p
