"""Standardized values: what `data.standardize=true` does to x, and how it is undone."""

from typing import NamedTuple

from torch import Tensor


class Standardization(NamedTuple):
    """The map from x to (x - mean) / deviation.

    Attributes:
        mean, deviation: Those of the training data, of each column (D,) of a table or of each
            channel (C, 1, ...) of other data.
    """

    mean: Tensor
    deviation: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Standardize x (B, *shape) of the data."""
        return (x - self.mean.to(x.device)) / self.deviation.to(x.device)

    def undo(self, x: Tensor) -> Tensor:
        """Return x (B, *shape) of the model in the units of the data."""
        return x * self.deviation.to(x.device) + self.mean.to(x.device)
