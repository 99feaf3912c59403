"""What each latent dimension is used for: its KL, and whether it is active."""

import torch
from torch import Tensor
from torchmetrics import Metric


class KLPerDimension(Metric):
    """E_x KL(q(z_d|x) || p(z_d)) (D,) in nats, from the closed form (B, D)."""

    total: Tensor
    count: Tensor

    def __init__(self, latent_dim: int):
        super().__init__()
        self.add_state("total", torch.zeros(latent_dim).double(), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()).double(), dist_reduce_fx="sum")

    def update(self, kl: Tensor) -> None:
        self.total += kl.double().sum(0)
        self.count += len(kl)

    def compute(self) -> Tensor:
        return self.total / self.count


class ActiveUnits(Metric):
    """How many dimensions have Var_x(E_q[z_d]) > threshold, from posterior means (B, D).

    Reference: Importance Weighted Autoencoders (Burda et al., 2016), section 5, arXiv:1509.00519
    """

    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, latent_dim: int, threshold: float = 0.01):
        super().__init__()
        self.threshold = threshold
        self.add_state("total", torch.zeros(latent_dim).double(), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(latent_dim).double(), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()).double(), dist_reduce_fx="sum")

    def update(self, means: Tensor) -> None:
        means = means.double()
        self.total += means.sum(0)
        self.squares += means.square().sum(0)
        self.count += len(means)

    def compute(self) -> Tensor:
        variance = self.squares / self.count - (self.total / self.count).square()
        return (variance > self.threshold).sum()
