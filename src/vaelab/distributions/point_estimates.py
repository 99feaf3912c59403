"""The mean and the mode of q(z|x), estimated from samples where they have no closed form.

Also the mean of p(x|z) for a reconstruction.
"""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.distributions.counts import IndependentPoisson

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


def mean_at_total(p: Distribution, x: Tensor) -> Tensor:
    """Return the mean of p(x|z) for the reconstruction of x; for counts, at the total of each x."""
    return p.at_total_of(x).mean if isinstance(p, IndependentPoisson) else p.mean


def sample_at_total(p: Distribution, x: Tensor) -> Tensor:
    """Return a sample of p(x|z); for counts with an exposure, at the total of each x."""
    return (p.at_total_of(x) if isinstance(p, IndependentPoisson) else p).sample()
