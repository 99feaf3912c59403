"""Note 2: the gradient of an expectation through the draws, and without them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


def through_the_draws(f: Function, mean: Tensor, sd: Tensor, noise: Tensor) -> Tensor:
    """d f(mean + sd noise) / d(mean, sd) of each draw, (K, 2D) for noise (K, D).

    Arguments:
        f: From z (K, D) to (K,).
    """
    z = (mean + sd * noise).requires_grad_()
    (slope,) = torch.autograd.grad(f(z).sum(), z)
    return torch.cat([slope, slope * noise], -1)


def by_the_score(
    f: Function, mean: Tensor, sd: Tensor, noise: Tensor, baseline: bool = False
) -> Tensor:
    """f(z) d log N(z; mean, sd^2) / d(mean, sd) of each draw, (K, 2D): it asks for no slope of f.

    Arguments:
        baseline: Whether to take from f(z) its mean over the other draws, which changes no mean of
            the gradient, because that of the score is 0.
    """
    with torch.no_grad():
        values = f(mean + sd * noise)
    if baseline:
        values = values - (values.sum() - values) / (len(values) - 1)
    score = torch.cat([noise / sd, (noise.square() - 1) / sd], -1)
    return values.unsqueeze(-1) * score
