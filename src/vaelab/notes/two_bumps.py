"""Note 10: one normal fitted to two bumps, by either direction of the KL."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.distributions.normal import HALF_LOG_TAU

REACH, NODES = 12.0, 4801  # of the quadrature, in deviations


class Fit(NamedTuple):
    """q = N(mean, sd^2), and its divergence from p in nats."""

    mean: float
    sd: float
    kl: float


def log_normal(z: Tensor, mean: Tensor | float, sd: Tensor | float) -> Tensor:
    sd = torch.as_tensor(sd, dtype=z.dtype)
    return -((z - mean) / sd).square() / 2 - sd.log() - HALF_LOG_TAU


def log_mixture(z: Tensor, centres: Tensor, sd: float) -> Tensor:
    """log of the mean of N(z; centre, sd^2) over the centres."""
    parts = log_normal(z.unsqueeze(-1), centres, sd)
    return parts.logsumexp(-1) - math.log(len(centres))


def two_bumps(distance: float) -> Tensor:
    """The centres of 1/2 N(-distance, 1) + 1/2 N(distance, 1)."""
    return torch.tensor([-distance, distance], dtype=torch.float64)


def expected(values: Tensor, log_p: Tensor, z: Tensor) -> Tensor:
    """E_p of values at points z (N,), by the trapezoid rule."""
    return torch.trapezoid(values * log_p.exp(), z)


def reverse_kl(mean: Tensor, sd: Tensor, centres: Tensor, width: float = 1.0) -> Tensor:
    """KL(q || p) in nats, q = N(mean, sd^2) and p the mixture of N(centre, width^2)."""
    z = mean + sd * torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
    log_q = log_normal(z, mean, sd)
    return expected(log_q - log_mixture(z, centres, width), log_q, z)


def forward_kl(mean: float, sd: float, centres: Tensor, width: float = 1.0) -> Tensor:
    """KL(p || q) in nats, for the same."""
    low, high = centres.min() - REACH * width, centres.max() + REACH * width
    z = torch.linspace(0, 1, NODES, dtype=torch.float64) * (high - low) + low
    log_p = log_mixture(z, centres, width)
    return expected(log_p - log_normal(z, mean, sd), log_p, z)


def forward_fit(centres: Tensor, width: float = 1.0) -> Fit:
    """The minimum of KL(p || q): q has the mean and the variance of p, whatever p is."""
    mean = centres.mean().item()
    sd = (centres.var(correction=0) + width**2).sqrt().item()
    return Fit(mean, sd, forward_kl(mean, sd, centres, width).item())


def reverse_fit(centres: Tensor, start: float, width: float = 1.0) -> Fit:
    """The minimum of KL(q || p) that is reached from N(start, 1)."""
    place = torch.tensor([start, 0.0], dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [place], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def step() -> Tensor:
        search.zero_grad()
        kl = reverse_kl(place[0], place[1].exp(), centres, width)
        kl.backward()
        return kl

    search.step(step)  # type: ignore[arg-type]
    mean, sd = place[0].detach(), place[1].detach().exp()
    return Fit(mean.item(), sd.item(), reverse_kl(mean, sd, centres, width).item())
