"""The von Mises-Fisher distribution on the unit sphere."""

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Beta, Distribution, register_kl
from torch.nn.functional import normalize

from vaelab.distributions.sphere import UniformSphere, log_sphere_area, sphere_constraint
from vaelab.runtime.precision import to_double

# Gauss-Legendre quadrature on [-1, 1]
NODES, WEIGHTS = map(torch.from_numpy, np.polynomial.legendre.leggauss(128))
HALF_WIDTH = 12.0  # of the interval of integration about the mode, in standard deviations
NEGLIGIBLE_NATS = 40.0  # a density this far below that of the sample does not change its slope
BISECTIONS = 60


class VonMisesFisher(Distribution):
    """The von Mises-Fisher distribution p(z) = exp(k m . z) / Z(k) on the unit sphere in R^D.

    The angle a between z and m has a density proportional to sin(a)^(D-2) exp(k cos(a)); given a,
    z is uniformly distributed. Integrals over a are computed by Gauss-Legendre quadrature, because
    Bessel functions overflow.

    The angle is sampled by rejection. Its derivative by k is that of the inverse cumulative
    distribution function F, da/dk = -(dF/dk) / p(a) (implicit reparameterization). This derivative
    accounts for the dependence of the acceptance probability on k, so that the gradient of any
    expectation is unbiased. Differentiating an accepted proposal does not; it needs the correction
    term of Naesseth et al. (2017), which multiplies the value of the loss.

    Arguments:
        direction: m (*batch, D) of length 1, with D >= 2.
        concentration: k (*batch) > 0.

    References:
        Hyperspherical Variational Auto-Encoders (Davidson et al., 2018), algorithm 1,
        arXiv:1804.00891
        Implicit Reparameterization Gradients (Figurnov et al., 2018), equation 6, arXiv:1805.08498
        Simulation of the von Mises Fisher Distribution (Wood, 1994)
    """

    has_rsample = True
    support: Any = sphere_constraint

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
        """E[cos(a)] (*batch), the ratio of two Bessel functions."""
        return self._integrals[1].to(self.concentration)

    @property
    def log_partition(self) -> Tensor:
        """ln Z(k) - k (*batch) in float64, which does not overflow for large k."""
        return log_sphere_area(self.dim - 1) + self._integrals[0]

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute k cos(a) - ln Z(k).

        cos(a) - 1 is computed as -|z - m|^2 / 2, which loses no digits in float32.
        """
        squares = (value - self.direction).square().sum(-1)
        return -self.concentration * squares / 2 - self.log_partition.to(self.concentration)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        k = self.concentration.expand(*sample_shape, *self.batch_shape)
        angle, slope = self._sample_angle(k)
        angle = (angle + slope * (k - k.detach())).unsqueeze(-1)
        tangent = self._sample_tangent(sample_shape)
        tangent = tangent - (tangent * self.direction).sum(-1, keepdim=True) * self.direction
        return angle.cos() * self.direction + angle.sin() * tangent

    @torch.no_grad()
    def _sample_tangent(self, sample_shape: Any) -> Tensor:
        """Sample unit vectors (*sample_shape, *batch, D) uniformly among those orthogonal to m.

        They have no gradient. `rsample` projects them again, with the gradient by m of a rotation.
        """
        tangent = torch.randn_like(self.direction.expand(*sample_shape, *self.direction.shape))
        for _ in range(2):  # the second projection restores digits that the first one cancels
            projection = (tangent * self.direction).sum(-1, keepdim=True)
            tangent = normalize(tangent - projection * self.direction, dim=-1)
        return tangent

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.rsample(sample_shape)

    def kl_from_uniform(self) -> Tensor:
        """Compute KL(self || uniform) = k E[cos(a)] - ln Z(k) + ln area (*batch).

        It is computed in float64 because the terms cancel for large k.
        """
        kl = to_double(self.concentration) * (self._integrals[1] - 1) - self.log_partition
        return (kl + log_sphere_area(self.dim)).to(self.concentration)

    @cached_property
    @torch.enable_grad()  # the cached value needs a graph even if `sample` computes it first
    def _integrals(self) -> tuple[Tensor, Tensor]:
        """ln of the integral of sin(a)^(D-2) exp(k cos(a) - k) over a, and E[cos(a)]."""
        k = to_double(self.concentration)
        mode, std = self._find_mode(k.detach())
        low = (mode - HALF_WIDTH * std).clamp(min=0)
        high = (mode + HALF_WIDTH * std).clamp(max=math.pi)
        angle, weights = _quadrature_points(low, high)
        log_terms = self._log_density(angle, k.unsqueeze(-1)) + weights.log()
        log_integral = log_terms.logsumexp(-1)
        probabilities = (log_terms - log_integral.unsqueeze(-1)).exp()
        return log_integral, (probabilities * angle.cos()).sum(-1)

    def _log_density(self, angle: Tensor, k: Tensor) -> Tensor:
        """Compute the unnormalized log density of the angle, ln(sin(a)^(D-2) exp(k cos(a) - k))."""
        power = torch.full_like(angle, self.dim - 2)
        return torch.xlogy(power, angle.sin()) - 2 * k * (angle / 2).sin().square()

    def _find_mode(self, k: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mode of the angle and a bound on its standard deviation about the mode."""
        n = self.dim - 2
        cosine = 2 * k / (n + (n**2 + 4 * k**2).sqrt())
        mode = torch.atan2((n * cosine / k).sqrt(), cosine)
        return mode, (n + k * cosine).rsqrt()

    @torch.no_grad()
    def _sample_angle(self, concentration: Tensor) -> tuple[Tensor, Tensor]:
        """Sample an angle for every concentration.

        Returns:
            The angles and their derivatives by the concentration.
        """
        k = to_double(concentration)
        angle = self._sample_angle_by_rejection(k)
        mode, _ = self._find_mode(k)
        # integrate over the tail on the far side from the mode, where the density decreases
        end = torch.where(angle < mode, 0.0, math.pi)
        log_p = self._log_density(angle, k)
        near, far = angle, end
        for _ in range(BISECTIONS):  # find where the density becomes negligible
            middle = (near + far) / 2
            counts = self._log_density(middle, k) > log_p - NEGLIGIBLE_NATS
            near, far = torch.where(counts, middle, near), torch.where(counts, far, middle)
        points, weights = _quadrature_points(angle, far)
        density_ratio = (self._log_density(points, k.unsqueeze(-1)) - log_p.unsqueeze(-1)).exp()
        score = points.cos() - self._integrals[1].unsqueeze(-1)  # d ln p(a) / dk
        slope = (weights * score * density_ratio).sum(-1)
        return angle.to(concentration), slope.to(concentration)

    def _sample_angle_by_rejection(self, k: Tensor) -> Tensor:
        """Sample angles (*) by Wood's rejection from a transformed beta variable."""
        n = self.dim - 1
        b = n / (2 * k + (4 * k**2 + n**2).sqrt())
        x = (1 - b) / (1 + b)
        proposals = Beta(k.new_tensor(n / 2), k.new_tensor(n / 2), validate_args=False)
        angle, is_missing = torch.zeros_like(k), torch.ones_like(k, dtype=torch.bool)
        while is_missing.any():
            beta = proposals.sample(k.shape)
            versine = 2 * b * beta / (1 - (1 - b) * beta)  # 1 - cos(a)
            log_ratio = k * (1 - versine - x) + n * torch.log1p(x * (x - 1 + versine) / (1 - x**2))
            is_rejected = log_ratio < torch.rand_like(k).log()  # False where k is NaN
            proposal = 2 * (versine / 2).sqrt().clamp(max=1).asin()
            angle = torch.where(is_missing & ~is_rejected, proposal, angle)
            is_missing = is_missing & is_rejected
        return angle


def _quadrature_points(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return points (*, N) between low and high (*) and their quadrature weights.

    The weights are negative where high < low.
    """
    half = ((high - low) / 2).unsqueeze(-1)
    return low.unsqueeze(-1) + half * (1 + NODES.to(low)), half * WEIGHTS.to(low)


@register_kl(VonMisesFisher, UniformSphere)
def _(q: VonMisesFisher, p: UniformSphere) -> Tensor:
    return q.kl_from_uniform()
