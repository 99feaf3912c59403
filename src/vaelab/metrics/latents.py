"""What each latent dimension is used for: its KL, and whether it is active."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class KLPerDimension(Metric):
    """E_x KL(q(z_d|x) || p(z_d)) (D,) in nats, from the closed form (B, D).

    Arguments:
        settings: Of every metric, as sync_on_compute=False for what one process does alone.
    """

    total: Tensor
    count: Tensor

    def __init__(self, latent_dim: int, **settings: Any):
        super().__init__(**settings)
        self.add_state("total", torch.zeros(latent_dim).double(), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()).double(), dist_reduce_fx="sum")

    def update(self, kl: Tensor) -> None:
        self.total += kl.double().sum(0)
        self.count += len(kl)

    def compute(self) -> Tensor:
        return self.total / self.count


class ActiveUnits(Metric):
    """How many dimensions have Var_x(E_q[z_d]) > threshold, from posterior means (B, D).

    Where the means are estimated, two independent estimates of each give their covariance, which
    has the noise of neither.

    Reference: Importance Weighted Autoencoders (Burda et al., 2016), section 5, arXiv:1509.00519
    """

    first: Tensor
    second: Tensor
    products: Tensor
    count: Tensor

    def __init__(self, latent_dim: int, threshold: float = 0.01):
        super().__init__()
        self.threshold = threshold
        for name in ("first", "second", "products"):
            self.add_state(name, torch.zeros(latent_dim).double(), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()).double(), dist_reduce_fx="sum")

    def update(self, means: Tensor, again: Tensor | None = None) -> None:
        first = means.double()
        second = first if again is None else again.double()
        self.first += first.sum(0)
        self.second += second.sum(0)
        self.products += (first * second).sum(0)
        self.count += len(first)

    def compute(self) -> Tensor:
        covariance = self.products / self.count - self.first * self.second / self.count**2
        return (covariance > self.threshold).sum()
