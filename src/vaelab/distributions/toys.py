"""Two-dimensional toy distributions with known densities, for `data=toy2d`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaelab.distributions.mixture import make_mixture
from vaelab.distributions.normal import HALF_LOG_TAU, DiagonalNormal
from vaelab.runtime.errors import UserError

CURVE_POINTS = 250  # at which the density of a noisy curve is evaluated
SPIRAL_ANGLE = 3 * math.pi  # radians from the start to the end of an arm


def make_toy_distribution(name: str) -> Distribution:
    """Return the distribution in TOYS with this name; its event shape is (2,).

    Raises:
        UserError: If there is no such distribution.
    """
    if name not in TOYS:
        raise UserError(f"data.name={name}: choose from {', '.join(TOYS)}")
    return TOYS[name]()


class PointDistribution(Distribution):
    """A distribution of one point (2,) in the plane, without reparameterized samples."""

    support: Any = constraints.real_vector

    def __init__(self):
        super().__init__(event_shape=torch.Size([2]), validate_args=False)


class Ring(PointDistribution):
    """A noisy ring, x = z/10 + z/|z| for z from N(0, I).

    The point x lies in the direction of z at radius 1 + |z|/10. The density of r = |z| is
    r exp(-r^2/2), and the circle of radius 1 + r/10 has length 2 pi (1 + r/10).

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
    """Compute z/10 + z/|z| for z (*, 2)."""
    return z / 10 + z / z.norm(dim=-1, keepdim=True)


class NoisyCurves(PointDistribution):
    """Uniformly chosen points of equally likely curves, with normal noise.

    The density is approximated by the mixture of normals about CURVE_POINTS points of each curve.

    Arguments:
        curves: Functions that map t (N,), uniform in [0, 1], to points (N, 2).
        noise_std: The standard deviation of the noise.
    """

    def __init__(self, curves: Sequence[Callable[[Tensor], Tensor]], noise_std: float):
        self.curves, self.noise_std = curves, noise_std
        super().__init__()

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        size = torch.Size(sample_shape)
        t = torch.rand(size.numel())
        curve_index = torch.randint(len(self.curves), (len(t), 1))
        candidates = torch.stack([curve(t) for curve in self.curves])
        point = candidates.take_along_dim(curve_index.expand(1, -1, 2), 0)[0]
        return (point + self.noise_std * torch.randn_like(point)).reshape(*size, 2)

    def log_prob(self, value: Tensor) -> Tensor:
        t = (torch.arange(CURVE_POINTS) + 0.5) / CURVE_POINTS
        points = torch.cat([curve(t) for curve in self.curves])
        components = DiagonalNormal(points, torch.full_like(points, math.log(self.noise_std)))
        return make_mixture(torch.zeros(len(points)), components).log_prob(value)


class Pinwheel(PointDistribution):
    """Five normals centred on the unit circle, each point x rotated by exp(|x|)/4 radians.

    The rotation depends only on the radius and therefore preserves areas: the density of x is that
    of the point rotated back. In the paper, the rotation depends on the distance along the arm.

    Reference: Composing Graphical Models with Neural Networks (Johnson et al., 2016), section 5,
    arXiv:1603.06277
    """

    arms, radial_std, tangential_std = 5, 0.3, 0.1

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        point = torch.randn(*sample_shape, 2) * torch.tensor([self.radial_std, self.tangential_std])
        point = point + torch.tensor([1.0, 0.0])
        arm_index = torch.randint(self.arms, point.shape[:-1])
        angle = arm_index * (2 * math.pi / self.arms) + point.norm(dim=-1).exp() / 4
        return rotate_points(point, angle)

    def log_prob(self, value: Tensor) -> Tensor:
        arm_angles = torch.arange(self.arms) * (2 * math.pi / self.arms)
        angle = arm_angles + value.norm(dim=-1, keepdim=True).exp() / 4
        point = rotate_points(value.unsqueeze(-2).expand(*angle.shape, 2), -angle)
        squares = ((point[..., 0] - 1) / self.radial_std).square()
        squares = squares + (point[..., 1] / self.tangential_std).square()
        log_volume = math.log(self.radial_std * self.tangential_std) + 2 * HALF_LOG_TAU
        return (-squares / 2).logsumexp(-1) - log_volume - math.log(self.arms)


def rotate_points(point: Tensor, angle: Tensor) -> Tensor:
    """Rotate points (*, 2) by angles (*) in radians about the origin."""
    x, y = point.unbind(-1)
    return torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], -1)


class Checkerboard(PointDistribution):
    """The uniform distribution on the eight dark squares of a 4x4 board; a square has edge 1."""

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        x = 4 * torch.rand(*sample_shape, 2) - 2
        is_light = x.floor().sum(-1) % 2 == 1
        # move points in light squares one square up, from the top row to the bottom row
        shift = torch.where(is_light, torch.where(x[..., 1] >= 1, -3.0, 1.0), 0.0)
        return x + torch.stack([torch.zeros_like(shift), shift], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        is_dark = (value.floor().sum(-1) % 2 == 0) & (value.abs() < 2).all(-1)
        return torch.where(is_dark, -math.log(8), -math.inf)


def make_moons() -> NoisyCurves:
    """Return two interleaved half circles with noise."""

    def upper(t: Tensor) -> Tensor:
        return torch.stack([(math.pi * t).cos() - 0.5, (math.pi * t).sin() - 0.25], -1)

    return NoisyCurves([upper, lambda t: -upper(t)], 0.1)


def make_spirals() -> NoisyCurves:
    """Return two spiral arms of radius 0 to 2 with noise."""

    def arm(t: Tensor) -> Tensor:
        r = t.sqrt()
        return 2 * torch.stack([r * (SPIRAL_ANGLE * r).cos(), r * (SPIRAL_ANGLE * r).sin()], -1)

    return NoisyCurves([arm, lambda t: -arm(t)], 0.08)


def make_eight_gaussians() -> Distribution:
    """Return eight normals of standard deviation 0.2 on a circle of radius 2."""
    angle = torch.arange(8) * (math.pi / 4)
    centres = 2 * torch.stack([angle.cos(), angle.sin()], -1)
    components = DiagonalNormal(centres, torch.tensor(0.2).log().expand(8, 2))
    return make_mixture(torch.zeros(8), components)


TOYS: dict[str, Callable[[], Distribution]] = {
    "ring": Ring,
    "moons": make_moons,
    "pinwheel": Pinwheel,
    "checkerboard": Checkerboard,
    "eight_gaussians": make_eight_gaussians,
    "spirals": make_spirals,
}
