"""The contract of a likelihood p(x|z). Its config group is `loss`, as in `loss=bce`."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from vaelab.distributions.pixels import Pixels
from vaelab.runtime.errors import UserError

Measure = Literal["probability", "density", "grey"]


class Likelihood(nn.Module):
    """A family of distributions over x that is parameterized by the decoder output.

    Arguments:
        shape: The shape of one x.

    Attributes:
        outputs: The number of decoder output channels that the family needs.
        support: The set of possible pixel values.
        pixels: The kind of pixels for which p(x|z) is a probability; "real" if it is a density.
        needs_calibration: True if `calibrate` must be called before an evaluation.
        condition: What log p(x|z) is conditional on besides z, for tables; None for nothing.
    """

    outputs: int
    support: Constraint
    pixels: Pixels
    needs_calibration = False
    condition: str | None = None

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.shape = tuple(shape)

    @abstractmethod
    def forward(self, out: Tensor) -> Distribution:
        """Return p(x|z) with the event shape `shape`.

        Arguments:
            out: Decoder output (*, outputs, *shape[1:]) in float32.
        """

    @abstractmethod
    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        """Compute an initial bias of the decoder output and initialize the parameters.

        Arguments:
            x: Training images (N, *shape).
            shared: True if the bias must be the same at all positions of a channel.

        Returns:
            The constant decoder output (outputs, *shape[1:]) that maximizes the likelihood of x;
            an approximation of it for mixtures, Student's t and discretized logistics.
        """

    def transform_encoder_input(self, x: Tensor) -> Tensor:
        """Return the input (B, *shape) of the encoder for x (B, *shape); by default x itself."""
        return x

    def set_floor(self, x: Tensor) -> None:
        """Adapt the lowest scale to real data x (N, *shape); it is 1/256 of a deviation of x.

        For one scale per pixel, it is the standard deviation of each column of a table, or of each
        channel of images. Otherwise it is the root of the mean variance of all of them, which also
        stands for constant columns. Likelihoods without such a scale do nothing.
        """

    def error_statistic(self, error: Tensor) -> Tensor:
        """Compute the statistic of errors x - mean whose average determines an optimal scale."""
        return error.square()

    def calibrate(self, mean_error: Tensor) -> None:
        """Set the scale from the error statistic, averaged over pixels and training images."""

    @property
    def scale(self) -> Tensor | None:
        """The scale in units of a pixel value, or None if it is not a single number."""
        return None

    def check_pixels(
        self, low: float, high: float, pixels: Pixels, columns: Sequence[str] = ()
    ) -> None:
        """Check that pixels of this kind between low and high have a likelihood.

        Arguments:
            columns: The kind of each column of mixed data.

        Raises:
            UserError: If they leave the support or need another kind of likelihood.
        """
        name = type(self).__name__
        if not self.support.check(torch.tensor([low, high])).all():
            raise UserError(
                f"loss: {name} takes pixels in {_format_interval(self.support)}, but the pixels of "
                f"the data lie in [{low:g}, {high:g}]: {_suggest_loss(pixels)}"
            )
        if self.pixels == "levels" and pixels not in ("binary", "levels"):
            advice = "set data.dequantize=false, or" if pixels == "dequantized" else "set"
            raise UserError(
                f"loss: {name} is a probability of 256 levels, but the pixels of the data are "
                f"{pixels}: {advice} a density such as loss=gaussian"
            )

    def measure(self, pixels: Pixels) -> Measure:
        """Return whether log p(x|z) of such pixels is a log probability, a log density or neither.

        The result is "grey" for grayscale pixels treated as probabilities: the Bernoulli
        distribution of a value between 0 and 1 is not a likelihood and has no NLL and no bits/dim.
        """
        if self.pixels == "real":
            return "density"
        return "grey" if self.pixels == "binary" and pixels != "binary" else "probability"


def compute_mean_image(x: Tensor, shared: bool) -> Tensor:
    """Compute the mean image (*shape) of x (N, *shape).

    Arguments:
        shared: True to average also over the positions of each channel.
    """
    mean = x.mean(0)
    if not shared:
        return mean
    return mean.flatten(1).mean(1).reshape(-1, *[1] * (mean.ndim - 1)).expand_as(mean)


def _suggest_loss(pixels: Pixels) -> str:
    if pixels in ("count", "mixed"):
        return f"set loss={'mixed' if pixels == 'mixed' else 'negative_binomial'}"
    return "rescale them, or set loss=mse"


def _format_interval(support: Constraint) -> str:
    low, high = getattr(support, "lower_bound", "-inf"), getattr(support, "upper_bound", "inf")
    return f"[{low:g}, {high:g}]" if not isinstance(low, str) else f"({low}, {high})"
