"""Project latents onto a plane, which the explorer shows as a map."""

from typing import NamedTuple

import torch
from torch import Tensor

MARGIN = 1.08  # edge of the map relative to the range of the latents


class LatentPlane(NamedTuple):
    """A plane in latent space: z = origin + (a, b) @ axes.

    The map is the square of points (a, b) that contains all latents. Its positions (across, down)
    are fractions of its edges, from the upper left corner.

    Attributes:
        origin: A point of the plane, (D,).
        axes: Orthonormal axes, (2, D).
        centre: Centre (2,) of the map.
        half_width: Half of the edge length of the map.
        explained_variance: Fraction of the variance of the latents within the plane; 1 for two
            latents.
        points: Projections (N, 2) of the latents from which the plane was computed.
    """

    origin: Tensor
    axes: Tensor
    centre: Tensor
    half_width: float
    explained_variance: float
    points: Tensor

    @classmethod
    def from_latents(cls, latents: Tensor) -> "LatentPlane":
        """Return the latent plane itself for D = 2, else that of the first principal components.

        Arguments:
            latents: (N, D).
        """
        origin, axes, explained_variance = _principal_axes(latents)
        points = (latents - origin) @ axes.T
        low, high = points.amin(0), points.amax(0)
        half_width = MARGIN * max((high - low).max().item() / 2, 1e-3)
        return cls(origin, axes, (low + high) / 2, half_width, explained_variance, points)

    def to_latent(self, a: float, b: float) -> Tensor:
        """Return the latent vector (D,) at a point of the plane."""
        return self.origin + self.axes.new_tensor([a, b]) @ self.axes

    def project(self, z: Tensor) -> tuple[float, float]:
        """Return the point of the plane that is closest to a latent vector (D,)."""
        a, b = ((z - self.origin) @ self.axes.T).tolist()
        return a, b

    def point_at(self, across: float, down: float) -> tuple[float, float]:
        """Return the point (a, b) at a position of the map."""
        a, b = self.centre.tolist()
        return a + (2 * across - 1) * self.half_width, b + (1 - 2 * down) * self.half_width

    def position_of(self, a: float, b: float) -> tuple[float, float]:
        """Return the position (across, down) of a point on the map; inverse of `point_at`."""
        left, top = self.point_at(0, 0)
        return (a - left) / (2 * self.half_width), (top - b) / (2 * self.half_width)


def _principal_axes(latents: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return origin (D,), axes (2, D), and the fraction of the variance that they explain."""
    if latents.shape[1] == 2:
        return torch.zeros(2).to(latents), torch.eye(2).to(latents), 1.0
    origin = latents.mean(0)
    _, singular_values, axes = torch.linalg.svd(latents - origin, full_matrices=False)
    variance = singular_values.square()
    return origin, axes[:2], (variance[:2].sum() / variance.sum().clamp(min=1e-12)).item()
