"""The distribution of the solution of an ordinary differential equation that starts from N(0, I).

References:
    Neural Ordinary Differential Equations (Chen et al., 2018), theorem 1, arXiv:1806.07366
    FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models (Grathwohl et
    al., 2019), section 3.1, arXiv:1810.01367
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.func import vjp, vmap

Solver = Literal["euler", "heun"]
Trace = Literal["exact", "hutchinson"]
Velocity = Callable[[Tensor, Tensor, Tensor | None], Tensor]
CHUNK = 2**19  # numbers in one pass of the velocity network and its derivatives


class ODESettings(NamedTuple):
    """How the differential equation is solved.

    Attributes:
        steps: The number of steps of equal length from t = 0 to t = 1.
        solver: `euler`, of order 1 and one evaluation of v in a step, or `heun`, of order 2 and
            two evaluations.
        trace: `exact`, by the product of dv/du with each unit vector, or `hutchinson`, by that
            with a vector of random signs. This estimate of log p(z) has no bias, but exp of it has.
    """

    steps: int = 20
    solver: Solver = "heun"
    trace: Trace = "exact"


class ProbabilityFlow(Distribution):
    """The distribution of z = mean + scale u(1) with du/dt = v(u, t) and u(0) ~ N(0, I).

        log p(z) = log N(u(0); 0, I) - int_0^1 tr dv/du dt - sum ln scale

    where u(0) is the solution backwards in time from u(1) = (z - mean) / scale. Both directions
    are solved with fixed steps, so density and samples belong together up to the solver's error.

    Arguments:
        velocity: Computes v(u, t, y) (N, D) from u (N, D), t () and labels y (N,) or None.
        mean, scale: (D,).
        settings: The solver.
        labels: Labels (B,), which give one distribution each; None for a single distribution.
    """

    def __init__(
        self,
        velocity: Velocity,
        mean: Tensor,
        scale: Tensor,
        settings: ODESettings,
        labels: Tensor | None = None,
    ):
        self.velocity, self.loc, self.scale = velocity, mean, scale
        self.settings, self.labels = settings, labels
        batch = torch.Size() if labels is None else labels.shape
        super().__init__(batch, mean.shape, validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.transport(noise)

    def transport(self, noise: Tensor) -> Tensor:
        """Compute z (*, D) from u(0) (*, D) in place of a sample of N(0, I)."""
        u, labels = self._flatten(noise)
        size = max(1, CHUNK // u.shape[-1])
        chunks = zip(u.split(size), _split(labels, size, len(u)), strict=True)
        parts = [self._solve_forwards(*chunk) for chunk in chunks]
        return self.loc + self.scale * torch.cat(parts).reshape(noise.shape)

    def _solve_forwards(self, u: Tensor, labels: Tensor | None) -> Tensor:
        (u,) = integrate(
            lambda state, t: (self.velocity(state[0], t, labels),), (u,), 0.0, 1.0, self.settings
        )
        return u

    def log_prob(self, value: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape)
        is_inference, has_grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        # Derivatives of v do not exist for the tensors of inference mode.
        with torch.inference_mode(False), torch.set_grad_enabled(has_grad and not is_inference):
            value = value.expand(shape)
            value = value.clone() if is_inference else value
            u, labels = self._flatten((value - self.loc) / self.scale)
            derivatives = u.shape[-1] if self.settings.trace == "exact" else 1
            size = max(1, CHUNK // (u.shape[-1] * derivatives))
            chunks = zip(u.split(size), _split(labels, size, len(u)), strict=True)
            log_p = torch.cat([self._log_prob(*chunk) for chunk in chunks])
            return log_p.reshape(shape[:-1]) - self.scale.log().sum()

    def _log_prob(self, u: Tensor, labels: Tensor | None) -> Tensor:
        """Compute log p(u(1)) (N,) of standardized u(1) (N, D)."""
        directions = _choose_directions(u, self.settings.trace)

        def field(state: tuple[Tensor, ...], t: Tensor) -> tuple[Tensor, ...]:
            return velocity_and_trace(lambda u: self.velocity(u, t, labels), state[0], directions)

        zero = u.new_zeros(len(u))
        u, change = integrate(field, (u, zero), 1.0, 0.0, self.settings)
        normal = -0.5 * (u.square().sum(-1) + u.shape[-1] * math.log(2 * math.pi))
        return normal + change

    def _flatten(self, value: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return value (*, D) as (N, D), and a label (N,) for each row."""
        labels = self.labels
        if labels is not None:
            labels = labels.expand(value.shape[:-1]).reshape(-1)
        return value.reshape(-1, value.shape[-1]), labels


def integrate(
    field: Callable[[tuple[Tensor, ...], Tensor], tuple[Tensor, ...]],
    state: tuple[Tensor, ...],
    start: float,
    end: float,
    settings: ODESettings,
) -> tuple[Tensor, ...]:
    """Solve d state/dt = field(state, t) from t = start to t = end in steps of equal length."""
    times = torch.linspace(
        start, end, settings.steps + 1, dtype=state[0].dtype, device=state[0].device
    )
    length = (end - start) / settings.steps
    for t, t_next in pairwise(times):
        slope = field(state, t)
        euler = _advance(state, slope, length)
        if settings.solver == "euler":
            state = euler
            continue
        next_slope = field(euler, t_next)
        state = _advance(_advance(state, slope, length / 2), next_slope, length / 2)
    return state


def velocity_and_trace(
    velocity: Callable[[Tensor], Tensor], u: Tensor, directions: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute v(u) (N, D), and the sum over k of e_k dv/du e_k (N,) for directions e.

    Arguments:
        u: (N, D).
        directions: (K, N, D), or (K, 1, D).
    """

    pullback: Any  # maps directions e to (e dv/du,)
    v, pullback = vjp(velocity, u)  # type: ignore[misc]
    (products,) = vmap(pullback)(directions.expand(-1, *u.shape))
    return v, (products * directions).sum((0, -1))


def _choose_directions(u: Tensor, trace: Trace) -> Tensor:
    """Return the unit vectors (D, 1, D), or one vector (1, N, D) of random signs for each u."""
    if trace == "exact":
        return torch.eye(u.shape[-1], dtype=u.dtype, device=u.device).unsqueeze(1)
    return torch.randint(0, 2, u.shape, device=u.device).to(u.dtype).mul(2).sub(1).unsqueeze(0)


def _advance(
    state: tuple[Tensor, ...], slope: tuple[Tensor, ...], length: float
) -> tuple[Tensor, ...]:
    return tuple(value + length * change for value, change in zip(state, slope, strict=True))


def _split(labels: Tensor | None, size: int, count: int) -> Sequence[Tensor | None]:
    """Split labels (N,) as the rows they belong to."""
    return [None] * -(-count // size) if labels is None else labels.split(size)
