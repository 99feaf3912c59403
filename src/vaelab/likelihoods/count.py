"""Base class of likelihoods of counts.

Reference: Deep Generative Modeling for Single-cell Transcriptomics (Lopez et al., 2018), methods
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.distributions.counts import MAX_COUNT, IndependentPoisson
from vaelab.distributions.pixels import Pixels
from vaelab.likelihoods.base import Likelihood, compute_mean_image
from vaelab.runtime.errors import UserError


class CountLikelihood(Likelihood):
    """A likelihood of counts, non-negative whole numbers.

    The mean of a count is its exposure times a rate. With exposure="total", the exposure is the
    total of x (the library size of a cell), and the rates are a softmax over all entries of x:
    they are the expected fractions of the total. log p(x|z) is then conditional on the total. With
    exposure="none", the exposure is 1 and the rates are the exponentials of the decoder outputs.

    The encoder takes log(1 + x), so that large counts do not dominate it.

    Arguments:
        shape: The shape of one x.
        exposure: total | none.
        channels: The number of decoder outputs for each entry of x.

    Attributes:
        mean_total: The mean total of the training data, from `initialize`, a buffer (). With
            exposure="total", it is the exposure of `mean` and `sample`, which know no x.

    Raises:
        UserError: If exposure is another word, or if x has one entry only, which is its total.
    """

    support = constraints.nonnegative_integer
    pixels = "count"
    mean_total: Tensor

    def __init__(self, shape: Sequence[int], exposure: str = "total", channels: int = 1):
        super().__init__(shape)
        if exposure not in ("total", "none"):
            raise UserError(f"loss.exposure={exposure}: choose from total, none")
        if exposure == "total" and torch.Size(shape).numel() == 1:
            raise UserError(
                "loss.exposure=total: x has one entry, which is its own total: set "
                "loss.exposure=none"
            )
        self.exposure = exposure
        self.condition = "the total of each x" if exposure == "total" else None
        self.outputs = channels * shape[0]
        self.register_buffer("mean_total", torch.ones(()))

    @abstractmethod
    def make_distribution(
        self, log_rate: Tensor, others: Sequence[Tensor], exposure: Tensor | None
    ) -> IndependentPoisson:
        """Return p(x|z).

        Arguments:
            log_rate: (*, *shape).
            others: The decoder outputs (*, *shape) after the first for each entry of x.
            exposure: See `IndependentPoisson`.
        """

    def forward(self, out: Tensor) -> IndependentPoisson:
        dims = len(self.shape)
        rate, *others = out.split(self.shape[0], dim=-dims)
        if self.exposure == "none":
            return self.make_distribution(rate, others, None)
        log_rate = rate.flatten(-dims).log_softmax(-1).unflatten(-1, self.shape)
        return self.make_distribution(log_rate, others, self.mean_total)

    def transform_encoder_input(self, x: Tensor) -> Tensor:
        """Return log(1 + x)."""
        return x.clamp(min=0).log1p()

    @torch.no_grad()
    def initialize(self, x: Tensor, shared: bool = False) -> Tensor:
        total = x.flatten(1).sum(1)
        self.mean_total.copy_(total.mean())
        mean = compute_mean_image(x, shared).clamp(min=0.5 / len(x))
        out = mean.log()
        if self.exposure == "none":
            return self.initialize_others(x, mean.expand_as(x), out, shared)
        fraction = (mean / mean.sum()).expand_as(x)
        exposure = total.reshape(-1, *[1] * len(self.shape))
        return self.initialize_others(x, exposure * fraction, out, shared)

    def initialize_others(self, x: Tensor, mean: Tensor, out: Tensor, shared: bool) -> Tensor:
        """Initialize the other parameters and return the decoder output (outputs, *shape[1:]).

        Arguments:
            x: Training data (N, *shape).
            mean: The mean (N, *shape) of each entry without the use of z.
            out: The decoder output (*shape) that gives these means.
            shared: See `initialize`.
        """
        return out

    def check_pixels(
        self, low: float, high: float, pixels: Pixels, columns: Sequence[str] = ()
    ) -> None:
        name = type(self).__name__
        if pixels not in ("binary", "count"):
            advice = "set data.kind=count if they are counts, or " if pixels == "real" else "set "
            raise UserError(
                f"loss: {name} is a probability of counts, but the pixels of the data are "
                f"{pixels}: {advice}another loss, such as "
                + ("mixed" if pixels == "mixed" else "gaussian")
            )
        if high > MAX_COUNT:
            raise UserError(
                f"loss: {name} takes counts up to 2^24 = {MAX_COUNT:,}, which float32 holds "
                f"exactly, but the largest of the data is {high:g}: divide them, as in thousands"
            )
