"""How far apart two sets of features are, without bias: KID where the net is Inception.

Reference: Demystifying MMD GANs (Binkowski et al., 2018), section 4, arXiv:1801.01401
"""

import torch
from torch import Tensor

ROWS = 1000  # of a kernel matrix at once


def kernel_distance(x: Tensor, y: Tensor) -> tuple[float, float]:
    """MMD^2 of features (N, D) and (N, D), N >= 3, and its standard error.

    The kernel is (x . y / D + 1)^3, and all pairs count, so that nothing is drawn by chance. The
    error is the jackknife's over pairs (x_i, y_i); where both sets are of one distribution it is
    too large rather than too small.
    """
    x, y, n = x.double(), y.double(), len(x)
    alike = _sums(x, x) - _kernel(x, x) + _sums(y, y) - _kernel(y, y)  # without j = i
    apart = _sums(x, y) + _sums(y, x)
    within, across = alike.sum(), apart.sum() / 2
    without_within = (within - 2 * alike) / ((n - 1) * (n - 2))
    without_across = (across - apart + _kernel(x, y)) / (n - 1) ** 2
    without = without_within - 2 * without_across
    error = ((n - 1) * without.var(correction=0)).sqrt()
    return (within / (n * (n - 1)) - 2 * across / n**2).item(), error.item()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """k(x_i, y_i) of each i, (N,)."""
    return ((x * y).mean(1) + 1) ** 3


def _sums(x: Tensor, y: Tensor) -> Tensor:
    """The sum over j of k(x_i, y_j) for each i, (N,)."""
    scaled = y.T / y.shape[1]
    return torch.cat([((part @ scaled + 1) ** 3).sum(1) for part in x.split(ROWS)])
