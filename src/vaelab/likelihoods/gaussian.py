"""Normal with one scale for all pixels: `loss=mse` (fixed) and `loss=gaussian` (learned, optimal).

References:
    Simple and Effective VAE Training with Calibrated Decoders (Rybkin et al., 2021),
    arXiv:2006.13202
    Don't Blame the ELBO! (Lucas et al., 2019), arXiv:1911.02469
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from vaelab.distributions.normal import DiagonalNormal
from vaelab.likelihoods.base import Likelihood, pixel_means

FLOOR = 1 / 256  # one level: below it a density on undequantized pixels grows without end
MOMENTUM = 0.1


class Gaussian(Likelihood):
    """p(x|z) = N(x; out, scale^2 I), so -log p = SSE / (2 scale^2) + D ln(scale) + D/2 ln 2 pi.

    Arguments:
        scale: In units of a pixel. A number is fixed. "learned" is a parameter, never below
            1/256. "optimal" is the root mean squared error itself, which maximises log p, never
            below 1/256: in training that of the batch (over all processes), in validation its
            running mean, in evaluation that of the training images with the weights at hand.
    """

    support = constraints.real
    pixels = "real"
    fixed: Tensor
    variance: Tensor

    def __init__(self, shape: Sequence[int], scale: float | str = 1.0):
        super().__init__(shape)
        self.outputs = shape[0]
        self.kind = scale if isinstance(scale, str) else "fixed"
        if self.kind == "learned":
            self.log_excess = nn.Parameter(torch.zeros(()))
        elif self.kind == "optimal":
            self.register_buffer("variance", torch.ones(()))
        elif isinstance(scale, str) or not 0 < scale < math.inf:
            raise ValueError(
                f"loss.scale={scale}: give a number above 0, or one of learned, optimal"
            )
        else:
            self.register_buffer("fixed", torch.tensor(float(scale)), persistent=False)

    @property
    def scale(self) -> Tensor:
        if self.kind == "learned":
            return FLOOR + self.log_excess.exp()
        if self.kind == "optimal":
            return self.variance.sqrt().clamp(min=FLOOR)
        return self.fixed

    def forward(self, out: Tensor) -> DiagonalNormal:
        if self.kind == "optimal" and self.training:
            return _Calibrated(self, out)
        return self.around(out, self.scale)

    def around(self, mean: Tensor, scale: Tensor) -> DiagonalNormal:
        return DiagonalNormal(mean, scale.log(), len(self.shape))

    @property
    def calibrated(self) -> bool:
        return self.kind == "optimal"

    @torch.no_grad()
    def calibrate(self, square: Tensor) -> None:
        self.variance.copy_(square)

    @torch.no_grad()
    def best_scale(self, error: Tensor) -> Tensor:
        """The scale at which these errors are most likely; moves the running mean towards it.

        At its optimum log p has no gradient with respect to the scale, so none is needed here.
        """
        variance = error.square().mean()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(variance)
            variance /= torch.distributed.get_world_size()
        self.variance.lerp_(variance.to(self.variance.dtype), MOMENTUM)
        return variance.sqrt().clamp(min=FLOOR)

    @torch.no_grad()
    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        mean = pixel_means(x, shared)
        variance = (x - mean).square().mean()
        if self.kind == "learned":
            self.log_excess.copy_((variance.sqrt() - FLOOR).clamp(min=FLOOR).log())
        elif self.kind == "optimal":
            self.variance.copy_(variance)
        return mean


class _Calibrated(DiagonalNormal):
    """N(out, scale^2 I) that fits its scale to the x whose log_prob is asked for."""

    def __init__(self, likelihood: Gaussian, mean: Tensor):
        super().__init__(mean, likelihood.scale.log(), len(likelihood.shape))
        self.likelihood = likelihood

    def log_prob(self, value: Tensor) -> Tensor:
        scale = self.likelihood.best_scale(value - self.mean)
        return self.likelihood.around(self.mean, scale).log_prob(value)
