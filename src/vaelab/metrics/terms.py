"""Means over images of the named terms of an objective, independent of the batch size."""

import torch
from torch import Tensor

from vaelab.metrics.float64_metric import Float64Metric
from vaelab.runtime.precision import to_double


class MeanTerms(Float64Metric):
    """The mean of each term over images, from float64 sums that are added over processes.

    A term has shape (B,), or () for a statistic of the batch, which counts for each of its images.
    """

    count: Tensor

    def __init__(self):
        super().__init__()
        self.names: list[str] = []
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, terms: dict[str, Tensor], counted: int | None = None) -> None:
        """Add the terms of a batch.

        Arguments:
            terms: The terms by name.
            counted: The number of images that count, from the first; None means all. The others
                only pad the batches of this process to the number of the other processes. A batch
                of which none counts registers the names, so that every process reduces the same
                sums.
        """
        images = max((len(term) for term in terms.values() if term.ndim), default=1)
        counted = images if counted is None else counted
        self.count = self.count + counted
        for name, term in terms.items():
            if name not in self.names:
                self.names.append(name)
                zero = torch.zeros_like(self.count)
                self.add_state(f"sum_{name}", zero, dist_reduce_fx="sum")
            if counted:
                total = to_double(term.detach()).expand(images)[:counted].sum()
                setattr(self, f"sum_{name}", getattr(self, f"sum_{name}") + total)

    def compute(self) -> dict[str, Tensor]:
        return {name: getattr(self, f"sum_{name}") / self.count for name in self.names}
