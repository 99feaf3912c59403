"""A flat map of codes, to be looked at and pointed into."""

from typing import NamedTuple

import torch
from torch import Tensor

MARGIN = 1.08


class LatentPlane(NamedTuple):
    """Places (a, b) and codes: z = origin + (a, b) @ axes.

    Attributes:
        origin: (D,).
        axes: (2, D), of length 1 and at right angles.
        centre, reach: Of the square of places in which the codes lie.
        share: Of the variance of the codes that the plane holds; 1 for two latents.
        places: (N, 2) of the codes that it was made for.
    """

    origin: Tensor
    axes: Tensor
    centre: Tensor
    reach: float
    share: float
    places: Tensor

    @classmethod
    def of(cls, codes: Tensor) -> "LatentPlane":
        """The plane of two latents itself, of more of them that in which codes (N, D) vary most."""
        origin, axes, share = _axes(codes)
        places = (codes - origin) @ axes.T
        low, high = places.amin(0), places.amax(0)
        reach = MARGIN * max((high - low).max().item() / 2, 1e-3)
        return cls(origin, axes, (low + high) / 2, reach, share, places)

    def code(self, a: float, b: float) -> Tensor:
        """The code (D,) at a place."""
        return self.origin + self.axes.new_tensor([a, b]) @ self.axes

    def place(self, z: Tensor) -> tuple[float, float]:
        """The place next to a code (D,)."""
        a, b = ((z - self.origin) @ self.axes.T).tolist()
        return a, b

    def at(self, across: float, down: float) -> tuple[float, float]:
        """The place at these shares of the square's edges, from its left upper corner."""
        a, b = self.centre.tolist()
        return a + (2 * across - 1) * self.reach, b + (1 - 2 * down) * self.reach

    def shares(self, a: float, b: float) -> tuple[float, float]:
        """The inverse of `at`."""
        left, top = self.at(0, 0)
        return (a - left) / (2 * self.reach), (top - b) / (2 * self.reach)


def _axes(codes: Tensor) -> tuple[Tensor, Tensor, float]:
    """Origin, axes and share of the variance."""
    if codes.shape[1] == 2:
        return torch.zeros(2).to(codes), torch.eye(2).to(codes), 1.0
    origin = codes.mean(0)
    _, deviations, axes = torch.linalg.svd(codes - origin, full_matrices=False)
    variance = deviations.square()
    return origin, axes[:2], (variance[:2].sum() / variance.sum().clamp(min=1e-12)).item()
