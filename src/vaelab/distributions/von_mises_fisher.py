"""The von Mises-Fisher distribution on the unit sphere."""

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Beta, Distribution, register_kl
from torch.nn.functional import normalize

from vaelab.distributions.sphere import UniformSphere, log_area, sphere

NODES, WEIGHTS = map(torch.from_numpy, np.polynomial.legendre.leggauss(128))
WIDTHS = 12.0  # standard deviations on each side that hold all that float64 sees
NEGLIGIBLE = 40.0  # nats below
HALVINGS = 60


class VonMisesFisher(Distribution):
    """p(z) = exp(k m . z) / Z(k) on the unit sphere in D dimensions, about m.

    With a the angle between z and m, p(a) is in proportion to sin(a)^(D-2) exp(k cos(a)), and the
    rest of z is uniform. Integrals over a are Gauss-Legendre sums, where Bessel functions would
    overflow.

    The angle is drawn by rejection, with k held fixed; its derivative by k is that of the inverse
    of its distribution function, da/dk = -(dF/dk) / p. This path takes into account how the
    acceptance depends on k, which the path through an accepted proposal alone does not (it needs
    the correction term of Naesseth et al., 2017, and with that the value of the loss); so the
    gradient of any expectation is unbiased.

    Arguments:
        direction: m (*, D) of length 1, D at least 2.
        concentration: k (*) above 0.

    References:
        Hyperspherical Variational Auto-Encoders (Davidson et al., 2018), algorithm 1,
        arXiv:1804.00891
        Implicit Reparameterization Gradients (Figurnov et al., 2018), equation 6, arXiv:1805.08498
        Simulation of the von Mises Fisher Distribution (Wood, 1994)
    """

    has_rsample = True
    support: Any = sphere

    def __init__(self, direction: Tensor, concentration: Tensor):
        self.direction, self.concentration = direction, concentration
        self.dim = direction.shape[-1]
        super().__init__(direction.shape[:-1], direction.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.mean_cosine.unsqueeze(-1) * self.direction

    @property
    def mode(self) -> Tensor:
        return self.direction

    @property
    def mean_cosine(self) -> Tensor:
        """E[cos(a)] (*), the ratio of two Bessel functions."""
        return self._integrals[1].to(self.concentration)

    @property
    def log_partition(self) -> Tensor:
        """ln Z(k) - k (*), in float64, which does not overflow."""
        return log_area(self.dim - 1) + self._integrals[0]

    def log_prob(self, value: Tensor) -> Tensor:
        """k cos(a) - ln Z(k), with cos(a) - 1 = -|z - m|^2 / 2 so that float32 loses no digits."""
        squares = (value - self.direction).square().sum(-1)
        return -self.concentration * squares / 2 - self.log_partition.to(self.concentration)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        k = self.concentration.expand(*sample_shape, *self.batch_shape)
        angle, slope = self._angle(k)
        angle = (angle + slope * (k - k.detach())).unsqueeze(-1)
        across = self._tangent(sample_shape)
        across = across - (across * self.direction).sum(-1, keepdim=True) * self.direction
        return angle.cos() * self.direction + angle.sin() * across

    @torch.no_grad()
    def _tangent(self, sample_shape: Any) -> Tensor:
        """Directions drawn uniformly among those at right angles to m.

        They are constants: m moves them, in rsample, as a rotation would.
        """
        across = torch.randn_like(self.direction.expand(*sample_shape, *self.direction.shape))
        for _ in range(2):  # once more, for the digits that the first difference has lost
            along = (across * self.direction).sum(-1, keepdim=True)
            across = normalize(across - along * self.direction, dim=-1)
        return across

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.rsample(sample_shape)

    def kl_from_uniform(self) -> Tensor:
        """KL(self || uniform) (*): k E[cos(a)] - ln Z(k) + ln area, in float64 for large k."""
        kl = self.concentration * (self._integrals[1] - 1) - self.log_partition
        return (kl + log_area(self.dim)).to(self.concentration)

    @cached_property
    @torch.enable_grad()  # a draw may be the first to ask, and needs no gradient of it
    def _integrals(self) -> tuple[Tensor, Tensor]:
        """ln of the integral of sin(a)^(D-2) exp(k cos(a) - k) over a, and E[cos(a)]."""
        k = self.concentration.double()
        mode, deviation = self._peak(k.detach())
        low = (mode - WIDTHS * deviation).clamp(min=0)
        high = (mode + WIDTHS * deviation).clamp(max=math.pi)
        angle, weights = _nodes(low, high)
        height = self._height(angle, k.unsqueeze(-1)) + weights.log()
        log_integral = height.logsumexp(-1)
        chances = (height - log_integral.unsqueeze(-1)).exp()
        return log_integral, (chances * angle.cos()).sum(-1)

    def _height(self, angle: Tensor, k: Tensor) -> Tensor:
        """ln(sin(a)^(D-2) exp(k cos(a) - k))."""
        power = torch.full_like(angle, self.dim - 2)
        return torch.xlogy(power, angle.sin()) - 2 * k * (angle / 2).sin().square()

    def _peak(self, k: Tensor) -> tuple[Tensor, Tensor]:
        """The angle of the highest density, and a bound on the standard deviation about it."""
        n = self.dim - 2
        cosine = 2 * k / (n + (n**2 + 4 * k**2).sqrt())
        mode = torch.atan2((n * cosine / k).sqrt(), cosine)
        return mode, (n + k * cosine).rsqrt()

    @torch.no_grad()
    def _angle(self, concentration: Tensor) -> tuple[Tensor, Tensor]:
        """Angles drawn for every concentration, and their derivatives by it."""
        k = concentration.double()
        angle = self._rejected(k)
        peak, _ = self._peak(k)
        end = torch.where(angle < peak, 0.0, math.pi)  # away from the peak the density falls
        here = self._height(angle, k)
        near, far = angle, end
        for _ in range(HALVINGS):  # to where there is nothing to add
            middle = (near + far) / 2
            counts = self._height(middle, k) > here - NEGLIGIBLE
            near, far = torch.where(counts, middle, near), torch.where(counts, far, middle)
        between, weights = _nodes(angle, far)
        relative = (self._height(between, k.unsqueeze(-1)) - here.unsqueeze(-1)).exp()
        excess = between.cos() - self._integrals[1].unsqueeze(-1)
        slope = (weights * excess * relative).sum(-1)
        return angle.to(concentration), slope.to(concentration)

    def _rejected(self, k: Tensor) -> Tensor:
        """Angles by Wood's rejection from a transformed beta variable."""
        n = self.dim - 1
        b = n / (2 * k + (4 * k**2 + n**2).sqrt())
        x = (1 - b) / (1 + b)
        proposals = Beta(k.new_tensor(n / 2), k.new_tensor(n / 2), validate_args=False)
        angle, missing = torch.zeros_like(k), torch.ones_like(k, dtype=torch.bool)
        while missing.any():
            drawn = proposals.sample(k.shape)
            versine = 2 * b * drawn / (1 - (1 - b) * drawn)  # 1 - cos(a)
            log_chance = k * (1 - versine - x) + n * torch.log1p(x * (x - 1 + versine) / (1 - x**2))
            refused = log_chance < torch.rand_like(k).log()  # never where k is nan
            proposed = 2 * (versine / 2).sqrt().clamp(max=1).asin()
            angle = torch.where(missing & ~refused, proposed, angle)
            missing = missing & refused
        return angle


def _nodes(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Points (*, N) from low to high (*) and their weights; negative ones where high < low."""
    half = ((high - low) / 2).unsqueeze(-1)
    return low.unsqueeze(-1) + half * (1 + NODES.to(low)), half * WEIGHTS.to(low)


@register_kl(VonMisesFisher, UniformSphere)
def _(q: VonMisesFisher, p: UniformSphere) -> Tensor:
    return q.kl_from_uniform()
