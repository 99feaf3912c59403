"""What the likelihoods with a location and a scale have in common.

Reference: Simple and Effective VAE Training with Calibrated Decoders (Rybkin et al., 2021),
arXiv:2006.13202
"""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn.functional import softplus

from vaelab.likelihoods.base import Likelihood, pixel_means
from vaelab.runtime.distributed import mean_over_processes

MOMENTUM = 0.1


class Scaled(Likelihood):
    """p(x|z) = prod_i f((x_i - out_i) / scale) / scale.

    Arguments:
        scale: In units of a pixel. A number is fixed. "learned" is one parameter, "pixel" a
            second decoder output for every pixel; both stay above `floor`. "optimal" is the scale
            that maximises log p, never below `floor`: in training for the errors of the batch
            (over all processes), in validation for their running mean, in evaluation for those of
            the training images with the weights at hand.

    Attributes:
        floor: By default one level, because a density on undequantized pixels grows without end.
        kinds: The words that scale may be.
    """

    support = constraints.real
    pixels = "real"
    floor = 1 / 256
    kinds = ("learned", "optimal", "pixel")
    fixed: Tensor
    fitted: Tensor

    def __init__(self, shape: Sequence[int], scale: float | str):
        super().__init__(shape)
        self.kind = scale if isinstance(scale, str) else "fixed"
        self.outputs = (2 if self.kind == "pixel" else 1) * shape[0]
        self.calibrated = self.kind == "optimal"
        if isinstance(scale, str):
            possible = scale in self.kinds
        else:
            possible = 0 < scale < math.inf
            self.register_buffer("fixed", torch.tensor(float(scale)), persistent=False)
        if not possible:
            raise ValueError(
                f"loss.scale={scale}: give a number above 0, or one of {', '.join(self.kinds)}"
            )
        if self.kind == "learned":
            self.raw = nn.Parameter(torch.zeros(()))
        elif self.kind == "optimal":
            self.register_buffer("fitted", torch.ones(()))

    @abstractmethod
    def around(self, location: Tensor, scale: Tensor) -> Distribution:
        """The family at a location (*, *shape) and a scale that broadcasts to it."""

    @abstractmethod
    def fit(self, deviation: Tensor) -> Tensor:
        """The scale that fits errors of this mean deviation best."""

    def center(self, x: Tensor, shared: bool) -> Tensor:
        """The location (*shape) that fits images x (N, *shape) best."""
        return pixel_means(x, shared)

    @property
    def scale(self) -> Tensor | None:
        if self.kind == "learned":
            return self.floor + softplus(self.raw)
        if self.kind == "optimal":
            return self.known()
        return self.fixed if self.kind == "fixed" else None

    def known(self) -> Tensor:
        """The optimal scale for the errors seen so far."""
        return self.fit(self.fitted).clamp(min=self.floor)

    def forward(self, out: Tensor) -> Distribution:
        if self.kind == "optimal" and self.training:
            return _Fitting(self, out)
        if self.scale is not None:
            return self.around(out, self.scale)
        location, raw = out.chunk(2, dim=-len(self.shape))
        return self.around(location, self.floor + softplus(raw))

    @torch.no_grad()
    def calibrate(self, deviation: Tensor) -> None:
        self.fitted.copy_(deviation)

    @torch.no_grad()
    def fitted_to(self, error: Tensor) -> Tensor:
        """The scale that fits these errors best; moves the running mean towards them.

        At its optimum log p has no gradient with respect to the scale, so none is needed here.
        """
        deviation = mean_over_processes(self.error_statistic(error).mean())
        self.fitted.lerp_(deviation.to(self.fitted.dtype), MOMENTUM)
        return self.fit(deviation).clamp(min=self.floor)

    @torch.no_grad()
    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        location = self.center(x, shared)
        deviation = self.error_statistic(x - location)
        if self.kind == "learned":
            self.raw.copy_(self._raw(deviation.mean()))
        elif self.kind == "optimal":
            self.fitted.copy_(deviation.mean())
        elif self.kind == "pixel":
            return torch.cat([location, self._raw(pixel_means(deviation, shared))])
        return location

    def _raw(self, deviation: Tensor) -> Tensor:
        excess = (self.fit(deviation) - self.floor).clamp(min=self.floor)
        return excess + torch.log(-torch.expm1(-excess))  # the inverse of softplus


class _Fitting(Distribution):
    """The family around `location`, its scale fitted to the x whose log_prob is asked for."""

    def __init__(self, likelihood: Scaled, location: Tensor):
        self.likelihood = likelihood
        self.location = location
        cut = location.ndim - len(likelihood.shape)
        super().__init__(location.shape[:cut], location.shape[cut:], validate_args=False)

    @property
    def current(self) -> Distribution:
        likelihood = self.likelihood
        return likelihood.around(self.location, likelihood.known())

    @property
    def mean(self) -> Tensor:
        return self.current.mean

    def sample(self, sample_shape=torch.Size()) -> Tensor:  # noqa: B008
        return self.current.sample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        scale = self.likelihood.fitted_to(value - self.location)
        return self.likelihood.around(self.location, scale).log_prob(value)
