"""The maximum mean discrepancy (MMD), for `objective=info_mmd` and `objective=wae_mmd`.

Reference: A Kernel Two-Sample Test (Gretton et al., 2012), lemma 6
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from vaelab.runtime.errors import UserError

KernelName = Literal["imq", "rbf"]


def estimate_mmd(z: Tensor, p: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute the unbiased estimate () of MMD^2 from samples z, p (B, D) of two distributions.

        mean_{i != j} k(z_i, z_j) + mean_{i != j} k(p_i, p_j) - 2 mean_ij k(z_i, p_j)

    The estimate can be negative.

    Arguments:
        kernel: k as a function of the squared distance.

    Raises:
        UserError: If there is no pair of samples.
    """
    count = len(z)
    if count < 2:
        raise UserError(f"MMD needs at least 2 images in a batch, not {count}: set data.batch_size")
    pairs = count * (count - 1)
    within = sum(
        (kernel(_squared_distances(points, points)) * _off_diagonal_mask(points)).sum() / pairs
        for points in (z, p)
    )
    return within - 2 * kernel(_squared_distances(z, p)).mean()


class MultiScaleMMD:
    """The unbiased estimate of MMD^2 with a kernel summed over several scales s.

        imq: k(d^2) = sum_s C_s / (C_s + d^2),    rbf: k(d^2) = sum_s exp(-d^2 / C_s)

    C_s is 2 D s^2 for D latent dimensions, the mean squared distance of two samples of N(0, s^2 I).

    Arguments:
        kernel: imq (inverse multiquadratic) or rbf.
        scales: The scales s, in units of the prior's standard deviation.

    Raises:
        UserError: If there is no scale, or one that is not above 0.
    """

    def __init__(self, kernel: KernelName, scales: Sequence[float]):
        if not scales or min(scales) <= 0:
            raise UserError(
                f"objective.scales={list(scales)}: it must have at least one number, all above 0"
            )
        self.kernel, self.scales = kernel, scales

    def __call__(self, z: Tensor, p: Tensor) -> Tensor:
        """Compute the estimate () from samples z, p (B, D) of two distributions."""
        return estimate_mmd(z, p, lambda squares: self._sum_kernels(squares, z.shape[-1]))

    def _sum_kernels(self, squares: Tensor, dim: int) -> Tensor:
        shape = (-1, *[1] * squares.ndim)
        width = squares.new_tensor([2 * dim * scale**2 for scale in self.scales]).reshape(shape)
        kernels = (-squares / width).exp() if self.kernel == "rbf" else width / (width + squares)
        return kernels.sum(0)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Compute all squared distances (len(x), len(y)), without cancellation for close points."""
    return (x.unsqueeze(1) - y).square().sum(-1)


def _off_diagonal_mask(x: Tensor) -> Tensor:
    """Return a matrix (len(x), len(x)) with 0 on the diagonal and 1 off it."""
    return 1 - torch.eye(len(x), dtype=x.dtype, device=x.device)
