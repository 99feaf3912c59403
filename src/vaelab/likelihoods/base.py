"""The contract of a likelihood p(x|z). The config group is called loss: `loss=bce`."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from vaelab.distributions.pixels import Pixels

Measure = Literal["probability", "density", "grey"]


class Likelihood(nn.Module):
    """A family of distributions over x of `shape`, indexed by the decoder's output.

    Attributes:
        outputs: The number of decoder channels it needs.
        support: The values a pixel may have.
        pixels: The kind of pixels that it gives a probability; real means that it is a density.
        calibrated: Whether evaluation first has to `calibrate` it to the training images.
    """

    outputs: int
    support: Constraint
    pixels: Pixels
    calibrated = False

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.shape = tuple(shape)

    @abstractmethod
    def forward(self, out: Tensor) -> Distribution:
        """Decoder output (*, outputs, *shape[1:]), float32, to p(x|z) with event `shape`."""

    @abstractmethod
    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        """The output (outputs, *shape[1:]) that fits images x (N, *shape) best without any z.

        For a mixture and for Student's t it is a guess. With `shared` it is the same at all places
        of a channel. Starts the likelihood's own parameters there too.
        """

    def error_statistic(self, error: Tensor) -> Tensor:
        """Of the errors x - mean, what `calibrate` takes the mean of."""
        return error.square()

    def calibrate(self, deviation: Tensor) -> None:
        """Take the mean `deviation` of a pixel over the training images."""

    @property
    def scale(self) -> Tensor | None:
        """The scale in units of a pixel, where one number says it."""
        return None

    def check(self, low: float, high: float, pixels: Pixels) -> None:
        """Refuse pixels that leave the support, between low and high, or are of another kind."""
        name = type(self).__name__
        if not self.support.check(torch.tensor([low, high])).all():
            raise ValueError(
                f"loss: {name} takes pixels in {_interval(self.support)}, but the data's lie in "
                f"[{low:g}, {high:g}]: scale them to that, or set loss=mse"
            )
        if self.pixels == "levels" and pixels not in ("binary", "levels"):
            change = "set data.dequantize=false, or" if pixels == "dequantized" else "set"
            raise ValueError(
                f"loss: {name} gives probabilities to 256 levels, but the data's pixels are "
                f"{pixels}: {change} a density such as loss=gaussian"
            )

    def measure(self, pixels: Pixels) -> Measure:
        """What log p(x|z) is on such pixels: a log probability, a log density, or neither (grey).

        A Bernoulli of a value between 0 and 1 is no likelihood: it has no NLL and no bits/dim.
        """
        if self.pixels == "real":
            return "density"
        return "probability" if self.pixels in (pixels, "levels") else "grey"


def pixel_means(x: Tensor, shared: bool) -> Tensor:
    """The mean image (*shape) of x (N, *shape), or one whose channels are constant."""
    mean = x.mean(0)
    if not shared:
        return mean
    return mean.flatten(1).mean(1).reshape(-1, *[1] * (mean.ndim - 1)).expand_as(mean)


def _interval(support: Constraint) -> str:
    low, high = getattr(support, "lower_bound", "-inf"), getattr(support, "upper_bound", "inf")
    return f"[{low:g}, {high:g}]" if not isinstance(low, str) else f"({low}, {high})"
