"""The mean and the mode of q(z|x), estimated from samples where they have no closed form."""

import torch
from torch import Tensor
from torch.distributions import Distribution

MEAN_SAMPLES = 32  # for estimates of a posterior mean that has no closed form


def mode_or_mean(q: Distribution) -> Tensor:
    """Return the mode of q, or its mean if q has no mode. The mean is estimated if necessary."""
    try:
        return q.mode
    except NotImplementedError:
        return estimate_mean_twice(q)[0]


def estimate_mean_twice(q: Distribution) -> tuple[Tensor, Tensor]:
    """Return the mean of q twice, or two independent estimates if it has no closed form."""
    try:
        return q.mean, q.mean
    except NotImplementedError:
        first, second = q.sample(torch.Size((2, MEAN_SAMPLES))).mean(1)
        return first, second
