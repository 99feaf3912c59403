"""The kernel distance between two sets of features; with features of Inception it is the KID.

Reference: Demystifying MMD GANs (Binkowski et al., 2018), section 4, arXiv:1801.01401
"""

import torch
from torch import Tensor

from vaelab.runtime.precision import to_double

CHUNK_ROWS = 1000  # rows of the kernel matrix in one chunk


def kernel_distance(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Estimate MMD^2 without bias, with the kernel (x . y / D + 1)^3 and all pairs of features.

    Arguments:
        x, y: Both (N, D), with N of at least 3.

    Returns:
        MMD^2 and its standard error, from the jackknife over pairs (x_i, y_i). If both sets have
        the same distribution, the standard error is too large.
    """
    x, y, n = to_double(x), to_double(y), len(x)
    row_within = _kernel_row_sums(x, x) - _paired_kernel(x, x)  # without j = i
    row_within = row_within + _kernel_row_sums(y, y) - _paired_kernel(y, y)
    row_across = _kernel_row_sums(x, y) + _kernel_row_sums(y, x)
    within, across = row_within.sum(), row_across.sum() / 2
    # the terms of MMD^2 without pair i
    within_without_i = (within - 2 * row_within) / ((n - 1) * (n - 2))
    across_without_i = (across - row_across + _paired_kernel(x, y)) / (n - 1) ** 2
    without_i = within_without_i - 2 * across_without_i
    error = ((n - 1) * without_i.var(correction=0)).sqrt()
    return (within / (n * (n - 1)) - 2 * across / n**2).item(), error.item()


def _paired_kernel(x: Tensor, y: Tensor) -> Tensor:
    """Compute k(x_i, y_i) for each i, (N,)."""
    return ((x * y).mean(1) + 1) ** 3


def _kernel_row_sums(x: Tensor, y: Tensor) -> Tensor:
    """Compute sum_j k(x_i, y_j) for each i, (N,)."""
    scaled = y.T / y.shape[1]
    return torch.cat([((chunk @ scaled + 1) ** 3).sum(1) for chunk in x.split(CHUNK_ROWS)])
