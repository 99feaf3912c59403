"""The maximum mean discrepancy, of `objective=info_mmd` and `objective=wae_mmd`.

Reference: A Kernel Two-Sample Test (Gretton et al., 2012), lemma 6
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["imq", "rbf"]


def mmd(z: Tensor, p: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """The unbiased estimate () of MMD^2 from draws z, p (B, D) of two distributions.

    mean_{i != j} k(z_i, z_j) + mean_{i != j} k(p_i, p_j) - 2 mean_ij k(z_i, p_j), which may be
    below 0.

    Arguments:
        kernel: Of the squared distance.
    """
    count = len(z)
    pairs = max(count * (count - 1), 1)
    within = sum((kernel(_squares(each, each)) * _others(each)).sum() / pairs for each in (z, p))
    return within - 2 * kernel(_squares(z, p)).mean()


class Kernels:
    """The sum over scales s of C / (C + d^2), or of exp(-d^2 / C), with C = 2 D s^2.

    Arguments:
        kernel: imq (inverse multiquadratic) or rbf.
        scales: In units of the prior's standard deviation.
    """

    def __init__(self, kernel: Kernel, scales: Sequence[float]):
        if not scales or min(scales) <= 0:
            raise ValueError(f"objective.scales={list(scales)}: name at least one, above 0")
        self.kernel, self.scales = kernel, scales

    def __call__(self, z: Tensor, p: Tensor) -> Tensor:
        """mmd(z, p)."""
        return mmd(z, p, lambda squares: self._total(squares, z.shape[-1]))

    def _total(self, squares: Tensor, dim: int) -> Tensor:
        shape = (-1, *[1] * squares.ndim)
        width = squares.new_tensor([2 * dim * scale**2 for scale in self.scales]).reshape(shape)
        each = (-squares / width).exp() if self.kernel == "rbf" else width / (width + squares)
        return each.sum(0)


def _squares(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances (len(x), len(y)), exact also where they are small."""
    return (x.unsqueeze(1) - y).square().sum(-1)


def _others(x: Tensor) -> Tensor:
    return 1 - torch.eye(len(x), dtype=x.dtype, device=x.device)
