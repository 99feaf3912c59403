"""Metrics of single latent dimensions: the KL of each, and the number of active ones."""

from typing import Any

import torch
from torch import Tensor

from vaelab.metrics.float64_metric import Float64Metric
from vaelab.runtime.precision import to_double


class KLPerDimension(Float64Metric):
    """The mean over images of the KL of each dimension, E_x KL(q(z_d|x) || p(z_d)) (D,) in nats.

    It is updated with closed-form KLs (B, D).

    Arguments:
        latent_dim: The number D of dimensions.
        settings: Settings of `torchmetrics.Metric`, such as sync_on_compute=False if only one
            process computes the metric.
    """

    total: Tensor
    count: Tensor

    def __init__(self, latent_dim: int, **settings: Any):
        super().__init__(**settings)
        self.add_state("total", torch.zeros(latent_dim).double(), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()).double(), dist_reduce_fx="sum")

    def update(self, kl: Tensor) -> None:
        self.total += to_double(kl).sum(0)
        self.count += len(kl)

    def compute(self) -> Tensor:
        return self.total / self.count


class ActiveUnits(Float64Metric):
    """The number of dimensions with Var_x(E_q[z_d]) > threshold, from posterior means (B, D).

    If the means are estimated from samples, pass two independent estimates: their covariance
    estimates the variance without the variance of the noise.

    Arguments:
        latent_dim: The number D of dimensions.
        threshold: The variance above which a dimension counts as active.

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

    def update(self, means: Tensor, second_means: Tensor | None = None) -> None:
        first = to_double(means)
        second = first if second_means is None else to_double(second_means)
        self.first += first.sum(0)
        self.second += second.sum(0)
        self.products += (first * second).sum(0)
        self.count += len(first)

    def compute(self) -> Tensor:
        covariance = self.products / self.count - self.first * self.second / self.count**2
        return (covariance > self.threshold).sum()


def bound_aggregate_kl(z: Tensor) -> float:
    """Compute a lower bound on KL(q(z) || N(0, I)) in nats, from a sample z (N, D) per image.

    It is the KL of the normal with the mean m_d and the variance v_d of each dimension:

        KL(q(z) || p(z)) = KL(q(z) || N(m, v)) + KL(N(m, v) || p(z)) >= KL(N(m, v) || p(z))

    Unlike the KL of a mixture over N images, it is not larger for fewer images.
    """
    mean, variance = z.double().mean(0), z.double().var(0, correction=0)
    variance = variance.clamp(min=torch.finfo(torch.float32).tiny)
    return (0.5 * (variance + mean.square() - 1 - variance.log()).sum()).item()
