"""Base class of likelihoods with a location and a scale.

Reference: Simple and Effective VAE Training with Calibrated Decoders (Rybkin et al., 2021),
arXiv:2006.13202
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn.functional import softplus

from vaelab.distributions.masked import Masked
from vaelab.likelihoods.base import Likelihood, compute_mean_image
from vaelab.runtime.distributed import mean_over_processes
from vaelab.runtime.errors import UserError

MOMENTUM = 0.1
RELATIVE_FLOOR = 1 / 256  # the lowest scale of real data in units of their standard deviation


class LocationScaleLikelihood(Likelihood):
    """The likelihood p(x|z) = prod_i f((x_i - out_i) / scale) / scale for a density f.

    Arguments:
        shape: The shape of one x.
        scale: The scale in units of a pixel value. A number is a fixed scale. "learned" is a scalar
            parameter, "column" is one parameter for each pixel, which is the same for all x, and
            "pixel" is a second decoder output for every pixel; they stay above lowest_scale.
            "optimal" is the scale that maximizes log p, but at least lowest_scale. In
            training it is computed from the errors of the batch (of all processes), in validation
            from their running mean, and in evaluation from the errors of the training images under
            the current weights.

    Attributes:
        min_scale: The lowest scale of pixels with 256 levels, by default about one level. Without a
            lower bound, the density of pixels that are not dequantized is unbounded.
        floor: The lowest scale of real data, from `set_floor`; None for other pixels, and in runs
            of versions before 0.2. A buffer, () or *shape.
        scale_options: The strings that are valid for scale.

    Raises:
        UserError: If scale is neither a positive finite number nor one of scale_options.
    """

    support = constraints.real
    pixels = "real"
    min_scale = 1 / 256
    scale_options = ("learned", "column", "optimal", "pixel")
    fixed: Tensor
    fitted: Tensor
    floor: Tensor | None

    def __init__(self, shape: Sequence[int], scale: float | str):
        super().__init__(shape)
        self.scale_kind = scale if isinstance(scale, str) else "fixed"
        self.outputs = (2 if self.scale_kind == "pixel" else 1) * shape[0]
        self.needs_calibration = self.scale_kind == "optimal"
        self.register_buffer("floor", None)
        self.register_load_state_dict_pre_hook(_adopt_saved_floor)
        if isinstance(scale, str):
            is_valid = scale in self.scale_options
        else:
            is_valid = 0 < scale < math.inf
            self.register_buffer("fixed", torch.tensor(float(scale)), persistent=False)
        if not is_valid:
            raise UserError(
                f"loss.scale={scale}: set a number above 0, or one of "
                f"{', '.join(self.scale_options)}"
            )
        if self.scale_kind in ("learned", "column"):
            self.raw = nn.Parameter(torch.zeros(() if scale == "learned" else self.shape))
        elif self.scale_kind == "optimal":
            self.register_buffer("fitted", torch.ones(()))

    @abstractmethod
    def make_distribution(self, location: Tensor, scale: Tensor) -> Distribution:
        """Return p(x|z) for a location (*, *shape) and a scale that is broadcastable to it."""

    @abstractmethod
    def fit_scale(self, mean_error: Tensor) -> Tensor:
        """Compute the scale that fits errors best, given the mean of their `error_statistic`."""

    def fit_location(self, x: Tensor, shared: bool) -> Tensor:
        """Compute the location (*shape) that fits images x (N, *shape) best.

        Arguments:
            shared: True if it must be the same at all positions of a channel.
        """
        return compute_mean_image(x, shared)

    @property
    def lowest_scale(self) -> Tensor | float:
        """The lowest scale, () or *shape."""
        return self.min_scale if self.floor is None else self.floor

    def set_floor(self, x: Tensor) -> None:
        if self.scale_kind == "fixed":
            return
        variance = x.var(0, correction=0)
        lowest = RELATIVE_FLOOR * variance.mean().sqrt()
        if not lowest > 0:
            return
        if self.scale_kind in ("pixel", "column"):
            own = variance.flatten(1).mean(1) if variance.ndim > 1 else variance
            own = own.reshape(-1, *[1] * (variance.ndim - 1)).expand_as(variance)
            lowest = torch.where(own > 0, RELATIVE_FLOOR * own.sqrt(), lowest)
        self.floor = lowest

    @property
    def scale(self) -> Tensor | None:
        if self.scale_kind == "learned":
            return self.lowest_scale + softplus(self.raw)
        if self.scale_kind == "optimal":
            return self.fitted_scale
        return self.fixed if self.scale_kind == "fixed" else None

    @property
    def fitted_scale(self) -> Tensor:
        """The optimal scale for the running mean of the errors, or for those of `calibrate`."""
        return self.fit_scale(self.fitted).clamp(min=self.lowest_scale)

    def forward(self, out: Tensor) -> Distribution:
        if self.scale_kind == "optimal" and self.training:
            return _BatchFittedDistribution(self, out)
        if self.scale is not None:
            return self.make_distribution(out, self.scale)
        if self.scale_kind == "column":
            return self.make_distribution(out, self.lowest_scale + softplus(self.raw))
        location, raw = out.chunk(2, dim=-len(self.shape))
        return self.make_distribution(location, self.lowest_scale + softplus(raw))

    @torch.no_grad()
    def calibrate(self, mean_error: Tensor) -> None:
        self.fitted.copy_(mean_error)

    @torch.no_grad()
    def fit_to_batch(self, error: Tensor) -> Tensor:
        """Compute the scale that fits the errors of a batch best, and update the running mean.

        The scale has no gradient: at the optimal scale the derivative of log p by the scale is 0.
        """
        mean_error = mean_over_processes(self.error_statistic(error).mean())
        self.fitted.lerp_(mean_error.to(self.fitted.dtype), MOMENTUM)
        return self.fit_scale(mean_error).clamp(min=self.lowest_scale)

    @torch.no_grad()
    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        location = self.fit_location(x, shared)
        errors = self.error_statistic(x - location)
        if self.scale_kind == "learned":
            self.raw.copy_(self._compute_raw(errors.mean()))
        elif self.scale_kind == "column":
            self.raw.copy_(self._compute_raw(errors.mean(0)))
        elif self.scale_kind == "optimal":
            self.fitted.copy_(errors.mean())
        elif self.scale_kind == "pixel":
            return torch.cat([location, self._compute_raw(compute_mean_image(errors, shared))])
        return location

    def _compute_raw(self, mean_error: Tensor) -> Tensor:
        """Compute the unconstrained value of the scale that fits the mean error best."""
        lowest = self.lowest_scale
        excess = (self.fit_scale(mean_error) - lowest).clamp(min=lowest)
        return excess + torch.log(-torch.expm1(-excess))  # the inverse of softplus


def _adopt_saved_floor(
    likelihood: LocationScaleLikelihood, state: Mapping[str, Any], prefix: str, *_: Any
) -> None:
    """Make room for the floor of saved weights, or remove the floor if they have none."""
    saved = state.get(f"{prefix}floor")
    if saved is None or likelihood.floor is None:
        likelihood.floor = None if saved is None else torch.empty_like(saved)


class _BatchFittedDistribution(Distribution):
    """The likelihood in training with scale="optimal"; `log_prob(x)` fits the scale to x."""

    def __init__(self, likelihood: LocationScaleLikelihood, location: Tensor):
        self.likelihood = likelihood
        self.location = location
        batch_dims = location.ndim - len(likelihood.shape)
        super().__init__(
            location.shape[:batch_dims], location.shape[batch_dims:], validate_args=False
        )

    @property
    def current(self) -> Distribution:
        """The distribution with the scale that fits the running mean of the errors."""
        return self.likelihood.make_distribution(self.location, self.likelihood.fitted_scale)

    @property
    def mean(self) -> Tensor:
        return self.current.mean

    def sample(self, sample_shape=torch.Size()) -> Tensor:  # noqa: B008
        return self.current.sample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        scale = self.likelihood.fit_to_batch(value - self.location)
        return self.likelihood.make_distribution(self.location, scale).log_prob(value)

    def log_prob_of_observed(self, value: Tensor) -> Tensor:
        """Fit the scale to the entries of value that are not NaN, and return their log p."""
        error = value - self.location
        error = error[~error.isnan()]
        scale = self.likelihood.fit_to_batch(error) if len(error) else self.likelihood.fitted_scale
        return Masked(self.likelihood.make_distribution(self.location, scale)).log_prob(value)
