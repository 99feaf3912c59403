"""Means over images of the named terms of an objective, whatever the batches."""

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanTerms(Metric):
    """A sum in float64 for each name and one count, added up over processes by compute().

    A term is (B,), or () for a statistic that counts for every image of its batch.
    """

    count: Tensor

    def __init__(self):
        super().__init__()
        self.names: list[str] = []
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, terms: dict[str, Tensor], counted: bool = True) -> None:
        """Add terms; with counted=False only take their names, for a process without images."""
        images = max((len(term) for term in terms.values() if term.ndim), default=1)
        self.count += images if counted else 0
        for name, term in terms.items():
            if name not in self.names:
                self.names.append(name)
                zero = torch.zeros_like(self.count)
                self.add_state(f"sum_{name}", zero, dist_reduce_fx="sum")
            if counted:
                total = getattr(self, f"sum_{name}") + term.detach().double().expand(images).sum()
                setattr(self, f"sum_{name}", total)

    def compute(self) -> dict[str, Tensor]:
        return {name: getattr(self, f"sum_{name}") / self.count for name in self.names}
