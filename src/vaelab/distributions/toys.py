"""Distributions of points in the plane whose densities are known: `toy("ring")`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaelab.distributions.mixture import make_mixture
from vaelab.distributions.normal import HALF_LOG_TAU, DiagonalNormal

NODES = 250  # points of a curve that its density is summed over
TURN = 3 * math.pi  # of a spiral, in radians


def toy_distribution(name: str) -> Distribution:
    """One of TOYS, with event shape (2,)."""
    if name not in TOYS:
        raise ValueError(f"data.name={name}: choose from {', '.join(TOYS)}")
    return TOYS[name]()


class PointDistribution(Distribution):
    """Of one point (2,); what is drawn has no gradient."""

    support: Any = constraints.real_vector

    def __init__(self):
        super().__init__(event_shape=torch.Size([2]), validate_args=False)


class Ring(PointDistribution):
    """x = z/10 + z/|z| for z from N(0, I): at radius 1 + |z|/10, in the direction of z.

    |z| has the density r exp(-r^2/2), and the circle of this radius is 2 pi (1 + r/10) long.

    Reference: Tutorial on Variational Autoencoders (Doersch, 2016), figure 2, arXiv:1606.05908
    """

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return bend_into_ring(torch.randn(*sample_shape, 2))

    def log_prob(self, value: Tensor) -> Tensor:
        radius = value.norm(dim=-1)
        r = 10 * (radius - 1)
        inside = (10 * r).log() - r.square() / 2 - (2 * math.pi * radius).log()
        return torch.where(r > 0, inside, -math.inf)


def bend_into_ring(z: Tensor) -> Tensor:
    """z/10 + z/|z| for z (*, 2)."""
    return z / 10 + z / z.norm(dim=-1, keepdim=True)


class Curves(PointDistribution):
    """A point of one of some curves, each as likely, and normal noise about it.

    The density is the mean over NODES points of each curve.

    Arguments:
        curves: From t (N,), uniform in [0, 1], to points (N, 2).
        deviation: Of the noise.
    """

    def __init__(self, curves: Sequence[Callable[[Tensor], Tensor]], deviation: float):
        self.curves, self.deviation = curves, deviation
        super().__init__()

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        size = torch.Size(sample_shape)
        t = torch.rand(size.numel())
        which = torch.randint(len(self.curves), (len(t), 1))
        every = torch.stack([curve(t) for curve in self.curves])
        point = every.take_along_dim(which.expand(1, -1, 2), 0)[0]
        return (point + self.deviation * torch.randn_like(point)).reshape(*size, 2)

    def log_prob(self, value: Tensor) -> Tensor:
        t = (torch.arange(NODES) + 0.5) / NODES
        points = torch.cat([curve(t) for curve in self.curves])
        spread = torch.full_like(points, math.log(self.deviation))
        return make_mixture(torch.zeros(len(points)), DiagonalNormal(points, spread)).log_prob(
            value
        )


class Pinwheel(PointDistribution):
    """Five normals about points of the unit circle, turned by exp(|x|)/4 about the origin.

    The turn depends on the radius only, so it keeps areas, and the density is that of the point
    turned back.

    Reference: Composing Graphical Models with Neural Networks (Johnson et al., 2016), section 5,
    arXiv:1603.06277, where the turn depends on the distance along the arm
    """

    arms, along, across = 5, 0.3, 0.1

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        point = torch.randn(*sample_shape, 2) * torch.tensor([self.along, self.across])
        point = point + torch.tensor([1.0, 0.0])
        arm = torch.randint(self.arms, point.shape[:-1])
        return rotate_points(point, arm * (2 * math.pi / self.arms) + point.norm(dim=-1).exp() / 4)

    def log_prob(self, value: Tensor) -> Tensor:
        arms = torch.arange(self.arms) * (2 * math.pi / self.arms)
        angle = arms + value.norm(dim=-1, keepdim=True).exp() / 4
        point = rotate_points(value.unsqueeze(-2).expand(*angle.shape, 2), -angle)
        squares = ((point[..., 0] - 1) / self.along).square()
        squares = squares + (point[..., 1] / self.across).square()
        volume = math.log(self.along * self.across) + 2 * HALF_LOG_TAU
        return (-squares / 2).logsumexp(-1) - volume - math.log(self.arms)


def rotate_points(point: Tensor, angle: Tensor) -> Tensor:
    """Points (*, 2) turned by angles (*) about the origin."""
    x, y = point.unbind(-1)
    return torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], -1)


class Checkerboard(PointDistribution):
    """Uniform on the eight dark squares, of edge 1, of a board of four by four."""

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        x = 4 * torch.rand(*sample_shape, 2) - 2
        light = x.floor().sum(-1) % 2 == 1  # the square above is dark, or else the lowest
        up = torch.where(light, torch.where(x[..., 1] >= 1, -3.0, 1.0), 0.0)
        return x + torch.stack([torch.zeros_like(up), up], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        dark = (value.floor().sum(-1) % 2 == 0) & (value.abs() < 2).all(-1)
        return torch.where(dark, -math.log(8), -math.inf)


def moons() -> Curves:
    """Two half circles that reach into each other."""

    def upper(t: Tensor) -> Tensor:
        return torch.stack([(math.pi * t).cos() - 0.5, (math.pi * t).sin() - 0.25], -1)

    return Curves([upper, lambda t: -upper(t)], 0.1)


def spirals() -> Curves:
    """Two arms that wind out to a radius of 2."""

    def arm(t: Tensor) -> Tensor:
        out = t.sqrt()
        return 2 * torch.stack([out * (TURN * out).cos(), out * (TURN * out).sin()], -1)

    return Curves([arm, lambda t: -arm(t)], 0.08)


def eight_gaussians() -> Distribution:
    """Normals of deviation 0.2 on a circle of radius 2."""
    angle = torch.arange(8) * (math.pi / 4)
    centres = 2 * torch.stack([angle.cos(), angle.sin()], -1)
    return make_mixture(
        torch.zeros(8), DiagonalNormal(centres, torch.tensor(0.2).log().expand(8, 2))
    )


TOYS: dict[str, Callable[[], Distribution]] = {
    "ring": Ring,
    "moons": moons,
    "pinwheel": Pinwheel,
    "checkerboard": Checkerboard,
    "eight_gaussians": eight_gaussians,
    "spirals": spirals,
}
