"""Codes of known factors: every combination of five of them, once."""

import math

import torch

SIZES = (3, 4, 4, 5, 5)
FACTORS = torch.cartesian_prod(*map(torch.arange, SIZES))  # (1200, 5)
IDEAL = (FACTORS.double() - FACTORS.double().mean(0)) / FACTORS.double().std(0)


def beside(codes: torch.Tensor, dimensions: int = 3) -> torch.Tensor:
    """With further dimensions that are noise."""
    return torch.cat([codes, torch.randn(len(codes), dimensions).double()], 1)


def turned(codes: torch.Tensor) -> torch.Tensor:
    """The last two dimensions, turned by 45 degrees."""
    u, v = codes[:, -2], codes[:, -1]
    return torch.cat([codes[:, :-2], torch.stack([u + v, u - v], 1) / math.sqrt(2)], 1)


def mirrored(codes: torch.Tensor) -> torch.Tensor:
    """The dimensions in another order, every other one with its sign changed."""
    signs = 1 - 2 * (torch.arange(codes.shape[1]) % 2)
    return (codes * signs)[:, torch.randperm(codes.shape[1])]


def knowing_nothing(dimensions: int = 10) -> torch.Tensor:
    return torch.randn(len(FACTORS), dimensions).double()


def flipped() -> tuple[torch.Tensor, torch.Tensor]:
    """A bit v (8,) and codes (8, 2): it is another bit in a quarter of all cases, and nothing."""
    v = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    guess = torch.tensor([0, 0, 0, 1, 0, 1, 1, 1])
    return v.unsqueeze(1), torch.stack([guess, torch.zeros(8)], 1).double()
