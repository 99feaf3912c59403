"""A continuous flow trained by flow matching, in a finished run: `prior=flow_matching`.

References:
    Flow Matching for Generative Modeling (Lipman et al., 2023), arXiv:2210.02747
    Classifier-Free Diffusion Guidance (Ho and Salimans, 2022), equation 6, arXiv:2207.12598
    High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022),
    arXiv:2112.10752
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vaelab.distributions.probability_flow import ODESettings, ProbabilityFlow, Solver, Trace
from vaelab.posteriors.base import Posterior
from vaelab.priors.base import Prior, check_at_least_one
from vaelab.priors.velocity import GridNetwork, VectorNetwork
from vaelab.runtime.errors import UserError

MAX_EXACT_TRACE = 8  # latent dimensions, up to which trace=auto is exact


class FlowMatching(Prior):
    """The distribution of z = mean + scale u(1), with du/dt = v(u, t) and u(0) = e ~ N(0, I).

    Let u be latents that are standardized by their mean and standard deviation. The network is
    trained on points of straight lines from noise e to u:

        u_t = t u + (1 - t) e,    loss = |v(u_t, t) - (u - e)|^2,    z ~ q(z|x), e ~ N(0, I)

    The minimum is v(u, t) = E[u - e | u_t], whose ODE transports N(0, I) to the distribution of the
    latents. v is the exact velocity for latents of the distribution N(0, I) plus a correction by
    the network, which is 0 at first: before the training p(z) = N(mean, scale^2).

    With classes, the network gets the class y of the image, and in a fraction of the images none.
    Samples with a label then follow the velocity

        v(u, t) + guidance (v(u, t, y) - v(u, t))

    The density without a label is that of v(u, t).

    Arguments:
        latent_dim: The length of z.
        shape: The shape of one x (unused).
        width: The width of the network, an MLP, unless z forms feature maps (c, h, w).
        channels: The number of channels at the largest grid of the network of feature maps, a
            U-Net.
        blocks: The number of residual blocks of the MLP, or of the U-Net at each size of its grid.
        classes: The number of classes of the labels; None for a network without labels.
        drop: The fraction of images whose label is left out in the training.
        guidance: The weight of the label: 0 ignores it, 1 samples p(z|y), and more gives samples
            that are more typical of y and less diverse.
        repeats: The number of pairs (e, t) for each image of a batch.
        ode_steps, solver: The number of steps of the ODE, and its solver, euler or heun.
        trace: How log p(z) computes the trace: exact, hutchinson, or auto, which is exact for up to
            8 latent dimensions. The exact trace costs as many passes as there are dimensions.

    Raises:
        UserError: If a setting is out of range.
    """

    support = constraints.real_vector
    has_own_loss = True
    mean: Tensor
    scale: Tensor
    network: nn.Module

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        width: int = 256,
        channels: int = 64,
        blocks: int = 3,
        classes: int | None = None,
        drop: float = 0.1,
        guidance: float = 1.0,
        repeats: int = 2,
        ode_steps: int = 20,
        solver: Solver = "heun",
        trace: Trace | Literal["auto"] = "auto",
    ):
        super().__init__(latent_dim, shape)
        check_at_least_one(width=width, channels=channels, blocks=blocks, repeats=repeats)
        if classes is not None:
            check_at_least_one(classes=classes)
        if not 0 <= drop <= 1:
            raise UserError(f"prior.drop={drop}: it must lie between 0 and 1")
        _check_sampling(guidance, ode_steps, "prior")
        self.classes, self.drop, self.guidance, self.repeats = classes, drop, guidance, repeats
        if trace == "auto":
            trace = "exact" if latent_dim <= MAX_EXACT_TRACE else "hutchinson"
        self.settings = ODESettings(ode_steps, solver, trace)
        self.size = width, channels, blocks
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))

    def prepare(self, posterior: Posterior) -> None:
        width, channels, blocks = self.size
        self.network = (
            GridNetwork(self.latent_shape, channels, blocks, self.classes or 0)
            if len(self.latent_shape) == 3
            else VectorNetwork(self.latent_dim, width, blocks, self.classes or 0)
        )

    @property
    def has_exact_density(self) -> bool:
        return self.settings.trace == "exact"

    @torch.no_grad()
    def standardize(self, z: Tensor) -> None:
        """Set mean and scale to those of latents z (N, latent_dim).

        Both are equal for all positions of feature maps. A dimension in which all latents are equal
        keeps the scale 1.
        """
        z = z.reshape(-1, self.latent_shape[0])  # the channels of a position are neighbours
        positions = self.latent_dim // self.latent_shape[0]
        scale = z.std(0)
        self.mean.copy_(z.mean(0).repeat(positions))
        self.scale.copy_(torch.where(scale > 0, scale, 1.0).repeat(positions))

    def forward(self, encode: Callable[..., Distribution]) -> ProbabilityFlow:
        return ProbabilityFlow(self.velocity, self.mean, self.scale, self.settings)

    def condition_on(self, y: Tensor) -> ProbabilityFlow:
        """Return p(z|y) with batch shape (B,) for classes y (B,), with the guidance's weight."""
        return ProbabilityFlow(self.velocity, self.mean, self.scale, self.settings, y)

    def configure_sampling(self, guidance: float | None, ode_steps: int | None) -> Self:
        """Return a view of the prior with other settings of its samples; None keeps a setting.

        Raises:
            UserError: If a setting is out of range, or there are no classes to guide to.
        """
        if guidance is not None and self.classes is None:
            raise UserError(
                f"sampler.guidance={guidance}: the prior of this run has no classes: leave it out, "
                "or train the prior with prior.classes"
            )
        prior = copy.copy(self)
        prior.guidance = self.guidance if guidance is None else guidance
        if ode_steps is not None:
            prior.settings = self.settings._replace(steps=ode_steps)
        _check_sampling(prior.guidance, prior.settings.steps, "sampler")
        return prior

    def velocity(self, u: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Compute v(u, t) (B, D), or the guided v(u, t, y), for u (B, D), t () and classes (B,)."""
        t = t.reshape(1)
        if y is None or self.guidance == 0:
            return self.predict(u, t, None)
        conditional = self.predict(u, t, y)
        if self.guidance == 1:
            return conditional
        return torch.lerp(self.predict(u, t, None), conditional, self.guidance)

    def predict(self, u: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """Compute v(u, t, y) (B, D) without guidance, for times t (B,) or (1,).

        With latents u ~ N(0, I), u_t has the variance s = t^2 + (1 - t)^2 and the velocity is
        (2 t - 1) u / s, with the conditional variance 1 / s.
        """
        t_column = t.unsqueeze(-1)
        variance = t_column.square() + (1 - t_column).square()
        correction = self._run_network(u * variance.rsqrt(), t, y)
        return (2 * t_column - 1) / variance * u + variance.rsqrt() * correction

    def _run_network(self, u: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        if self.classes is not None:
            unknown = torch.full(u.shape[:1], self.classes, device=u.device)
            y = unknown if y is None else y
        return self.network(u, t, y)

    def compute_loss(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Compute the loss (B,) of latents z (B, latent_dim) with classes y (B,).

        Raises:
            UserError: If the network has classes, but y is None.
        """
        u = ((z - self.mean) / self.scale).repeat(self.repeats, 1)
        if self.classes is not None:
            y = self._drop_labels(y, self.classes)
        t, noise = self.sample_times(len(u)).to(u), torch.randn_like(u)
        point, target = self.interpolate(u, noise, t.unsqueeze(-1))
        error = (self.predict(point, t, y) - target).square().sum(-1)
        return error.reshape(self.repeats, -1).mean(0)

    def _drop_labels(self, y: Tensor | None, unknown: int) -> Tensor:
        """Return classes (repeats B,), some of which are replaced by `unknown`."""
        if y is None:
            raise UserError(f"prior.classes={self.classes} needs labels of the images")
        y = y.repeat(self.repeats)
        return torch.where(torch.rand(y.shape, device=y.device) < self.drop, unknown, y)

    def interpolate(self, u: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the point at the time t (B, 1) of the path from noise to u, and its velocity."""
        return t * u + (1 - t) * noise, u - noise

    def sample_times(self, count: int) -> Tensor:
        """Sample times t (count,) uniformly in [0, 1], one in each of `count` equal intervals."""
        return (torch.randperm(count) + torch.rand(count)) / count


def _check_sampling(guidance: float, ode_steps: int, group: str) -> None:
    """Raise a UserError if a setting of a config group is out of range."""
    if not 0 <= guidance < math.inf:
        raise UserError(f"{group}.guidance={guidance}: it must be a finite number, 0 or more")
    if ode_steps < 1:
        raise UserError(f"{group}.ode_steps={ode_steps}: it must be at least 1")
