"""Counts generated from a known model: `data=counts`.

Reference: Deep Generative Modeling for Single-cell Transcriptomics (Lopez et al., 2018), methods
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.data.base import Binarize, DataModule, Split, check_generated_sizes
from vaelab.distributions.counts import IndependentNegativeBinomial
from vaelab.runtime.errors import UserError
from vaelab.runtime.seeding import Stream, seeded_noise

MEAN_TOTAL = 2_000.0  # the median of the exposures
MODEL = 3  # number of the random stream of the model; 0 to 2 are those of the splits


class CountModel(NamedTuple):
    """The parameters that the counts are generated from, with D columns and K latents.

    Attributes:
        weights: W (D, K).
        bias: b (D,).
        inverse_dispersion: r (D,).
    """

    weights: Tensor
    bias: Tensor
    inverse_dispersion: Tensor

    def compute_log_fractions(self, z: Tensor) -> Tensor:
        """Return log_softmax(W z + b) (N, D), the logarithms of the expected fractions.

        Arguments:
            z: (N, K).
        """
        return (z @ self.weights.T + self.bias).log_softmax(-1)


class Counts(DataModule):
    """Counts (N, columns), float32, of a negative binomial model with log-linear rates.

    z ~ N(0, I_K), m = t softmax(W z + b), x_i ~ NB(m_i, r_i), where t is a log-normal exposure with
    median 2,000, W and b are normal, and r is log-normal. There are no labels.

    Arguments:
        columns: The number D of counts in a row.
        latents: K.
        train, validation, test: The number of rows in each split.
        draw: The seed of the model and the rows; `seed` is the seed of their order in training.

    Raises:
        UserError: If an argument is out of range.
    """

    def __init__(
        self,
        columns: int = 50,
        latents: int = 3,
        train: int = 8_000,
        validation: int = 1_000,
        test: int = 1_000,
        draw: int = 0,
        binarize: Binarize = "none",
        batch_size: int = 128,
        seed: int = 0,
        dequantize: bool = False,
    ):
        super().__init__((columns,), binarize, batch_size, seed, dequantize)
        self.kind = "auto" if binarize != "none" else "count"
        check_generated_sizes(train, validation, test, draw)
        if columns < 2 or latents < 1:
            raise UserError(
                f"data.columns={columns} must be at least 2, and data.latents={latents} at least 1"
            )
        self.latents, self.draw = latents, draw
        self.sizes = {"train": train, "val": validation, "test": test}

    def make_model(self) -> CountModel:
        """Return the parameters that all rows are generated from."""
        size = self.shape[0]
        with seeded_noise(Stream.POINTS, self.draw, MODEL):
            weights = 0.7 * torch.randn(size, self.latents)
            bias = torch.randn(size)
            return CountModel(weights, bias, (1.5 + 0.7 * torch.randn(size)).exp())

    def sample_split(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the latents z (N, latents) and the counts (N, columns) of train, val or test."""
        count, model = self.sizes[name], self.make_model()
        with seeded_noise(Stream.POINTS, self.draw, list(self.sizes).index(name)):
            z = torch.randn(count, self.latents)
            log_exposure = torch.tensor(MEAN_TOTAL).log() + 0.4 * torch.randn(count, 1)
            log_mean = model.compute_log_fractions(z) + log_exposure
            p = IndependentNegativeBinomial(log_mean, model.inverse_dispersion.log())
            return z, p.sample()

    def load(self) -> dict[str, Split]:
        return {
            name: Split(self.sample_split(name)[1], torch.zeros(size, 0, dtype=torch.long))
            for name, size in self.sizes.items()
        }
