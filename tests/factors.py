"""Latents with known factors: every combination of the values of five factors, once."""

import math

import torch

SIZES = (3, 4, 4, 5, 5)
FACTORS = torch.cartesian_prod(*map(torch.arange, SIZES))  # (1200, 5)
IDEAL = (FACTORS.double() - FACTORS.double().mean(0)) / FACTORS.double().std(0)


def append_noise(latents: torch.Tensor, dimensions: int = 3) -> torch.Tensor:
    """Append noise dimensions to latents (N, D)."""
    return torch.cat([latents, torch.randn(len(latents), dimensions).double()], 1)


def rotate_last_dimensions(latents: torch.Tensor) -> torch.Tensor:
    """Rotate the last two dimensions by 45 degrees."""
    u, v = latents[:, -2], latents[:, -1]
    return torch.cat([latents[:, :-2], torch.stack([u + v, u - v], 1) / math.sqrt(2)], 1)


def permute_and_flip(latents: torch.Tensor) -> torch.Tensor:
    """Change the sign of every other dimension and permute the dimensions."""
    signs = 1 - 2 * (torch.arange(latents.shape[1]) % 2)
    return (latents * signs)[:, torch.randperm(latents.shape[1])]


def make_independent_latents(dimensions: int = 10) -> torch.Tensor:
    """Sample latents that are independent of FACTORS."""
    return torch.randn(len(FACTORS), dimensions).double()


def make_noisy_bit() -> tuple[torch.Tensor, torch.Tensor]:
    """Return a bit (8, 1) and latents (8, 2): the bit, wrong in a quarter of all cases, and 0."""
    v = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    noisy = torch.tensor([0, 0, 0, 1, 0, 1, 1, 1])
    return v.unsqueeze(1), torch.stack([noisy, torch.zeros(8)], 1).double()
