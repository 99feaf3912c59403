"""Annealed importance sampling: a bound on log p(x) that owes nothing to q(z|x).

Chains start at draws of p(z), and are led to p(z|x) through f_b(z) = p(z) p(x|z)^b, b from 0 to 1.

References:
    Annealed Importance Sampling (Neal, 2001), arXiv:physics/9803008
    MCMC Using Hamiltonian Dynamics (Neal, 2011), sections 2.3 and 3.2, arXiv:1206.1901
    On the Quantitative Analysis of Decoder-Based Generative Models (Wu et al., 2017), section 4,
    arXiv:1611.04273
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints

from vaelab.estimators.importance import chunk_sizes
from vaelab.objectives.base import frozen, log_mean_exp, sample_prior
from vaelab.runtime.distributed import progress_bar
from vaelab.vae import VAE

CHAINS = 16
TEMPERATURES = 500
LEAPFROG = 5
PILOTS = 4  # chains for each image that the step sizes are found with
TARGET = 0.65  # of the acceptance rate
FIRST = 0.1  # step size
GAIN = 0.1  # of its logarithm, by how far the acceptance rate is from the target
EDGE = 4.0  # the temperatures are those of a logistic function between -EDGE and EDGE

Start = Literal["prior", "posterior"]
Terms = Callable[[Tensor], tuple[Tensor, Tensor]]


class State(NamedTuple):
    """z (K, B, D), log f_0(z) and log f_1(z) - log f_0(z), which b multiplies, both (K, B)."""

    z: Tensor
    log_start: Tensor
    log_ratio: Tensor


@torch.no_grad()
def annealed_bound(
    vae: VAE,
    x: Tensor,
    chains: int = CHAINS,
    temperatures: int = TEMPERATURES,
    leapfrog: int = LEAPFROG,
    start: Start = "prior",
) -> tuple[Tensor, Tensor]:
    """log 1/K sum_k w_k (B,), below log p(x) in the mean, and its standard error over chains (B,).

    E[w] = p(x) exactly, as each transition leaves its f_b as it is: a Hamiltonian path, which
    Metropolis' rule accepts or not. Its step size goes after an acceptance rate of 0.65. Chains
    that chose their own would move by where they have been, and E[w] would no longer be p(x); so
    pilot chains find the step size of each temperature and image first, and no weight is theirs.

    The error is that of the logarithm of a mean: too small where few chains have all the weight.

    Arguments:
        x: (B, *shape).
        chains: K, for each image.
        temperatures: The number of steps of b.
        leapfrog: Steps of a transition.
        start: Where chains start: at p(z), or at q(z|x), with f_b = q(z|x)^(1-b) p(x, z)^b.

    Raises:
        ValueError: If z is no real vector, or has no density where it is needed.
    """
    check(vae, start, chains)
    schedule = betas(temperatures).to(x)
    with frozen(vae):
        terms, draw = _path(vae, x, start)
        steps = _pilot(terms, draw(PILOTS), schedule, leapfrog)
        log_w = torch.cat(
            [
                _anneal(terms, draw(count), schedule, steps, leapfrog)
                for count in chunk_sizes(vae, len(x), chains)
            ]
        )
    return log_mean_exp(log_w), error_over_chains(log_w)


@torch.no_grad()
def sandwich(
    vae: VAE,
    images: int,
    chains: int = CHAINS,
    temperatures: int = TEMPERATURES,
    leapfrog: int = LEAPFROG,
) -> tuple[Tensor, Tensor]:
    """Of images x that the model draws, bounds on log p(x) from below and from above, both (B,).

    The z that x was drawn from is a draw of p(z|x), which no chain gives for an image of a data
    set. Chains that go back from it to p(z) have E[1/w] = 1/p(x), so minus the logarithm of the
    mean of 1/w is above log p(x) in the mean. How far the bounds are apart says how good the lower
    one can be on images like these.

    Reference: Sandwiching the Marginal Likelihood Using Bidirectional Monte Carlo (Grosse et al.,
    2015), arXiv:1511.02543
    """
    check(vae, "prior", chains)
    z = sample_prior(vae.latents(), images)
    x = vae.decode(z).sample()
    schedule = betas(temperatures).to(z)
    with frozen(vae):
        terms, draw = _path(vae, x, "prior")
        steps = _pilot(terms, draw(PILOTS), schedule, leapfrog)
        up, down = [], []
        for count in chunk_sizes(vae, images, chains):
            up.append(_anneal(terms, draw(count), schedule, steps, leapfrog))
            back = z.expand(count, *z.shape)
            down.append(_anneal(terms, back, schedule.flip(0), steps.flip(0), leapfrog))
    return log_mean_exp(torch.cat(up)), -log_mean_exp(torch.cat(down))


def reason_not_applicable(vae: VAE, start: Start = "prior") -> str | None:
    """Why chains cannot be led through the codes of this model; None if they can."""
    name = type(vae.posterior).__name__
    if not vae.posterior.density:
        return f"{name} is no density, so there is no p(x) that a chain could find"
    if vae.posterior.support is not constraints.real_vector:
        return (
            f"annealing moves z through a real vector, but the codes of {name} lie on "
            f"{vae.posterior.support}: importance_bound asks for less"
        )
    if start == "posterior" and not vae.posterior.exact_density:
        return f"{name} has rounding errors away from its own draws: start at the prior"
    return None


def check(vae: VAE, start: Start, chains: int) -> None:
    if reason := reason_not_applicable(vae, start):
        raise ValueError(reason)
    if chains < 1:
        raise ValueError(f"chains={chains}: it must be at least 1")


def betas(temperatures: int) -> Tensor:
    """b from 0 to 1 (temperatures + 1,), closest together at both ends, by a logistic function."""
    if temperatures < 1:
        raise ValueError(f"temperatures={temperatures}: it must be at least 1")
    rising = torch.linspace(-EDGE, EDGE, temperatures + 1).double().sigmoid()
    return (rising - rising[0]) / (rising[-1] - rising[0])


def error_over_chains(log_w: Tensor) -> Tensor:
    """Of log_mean_exp of log weights (K, B), the standard error (B,): that of w over its mean."""
    shares = log_w.softmax(0) * len(log_w)
    return shares.std(0, correction=0) / math.sqrt(len(log_w) - 1)


def _path(vae: VAE, x: Tensor, start: Start) -> tuple[Terms, Callable[[int], Tensor]]:
    """The two terms of log f_b(z), and what draws z (K, B, D) at b = 0."""
    q, p = vae.encode(x) if start == "posterior" else None, vae.latents()

    def terms(z: Tensor) -> tuple[Tensor, Tensor]:
        log_q = q.log_prob(z) if q is not None else None
        log_p, log_px = p.log_prob(z), vae.decode(z).log_prob(x)
        return (log_p, log_px) if log_q is None else (log_q, log_p + log_px - log_q)

    def draw(chains: int) -> Tensor:
        if q is not None:
            return q.sample(torch.Size([chains]))
        return p.sample(torch.Size([chains] if p.batch_shape else [chains, len(x)]))

    return terms, draw


def _pilot(terms: Terms, z: Tensor, schedule: Tensor, leapfrog: int) -> Tensor:
    """The step size for each temperature between the ends and each image (T - 1, B)."""
    state, steps = State(z, *terms(z)), []
    log_step = torch.full_like(state.log_ratio[0], math.log(FIRST))
    for beta in progress_bar(schedule[1:-1], "finding step sizes"):
        steps.append(log_step.exp())
        state, acceptance = _move(terms, state, beta, steps[-1], leapfrog)
        log_step = log_step + GAIN * (acceptance.mean(0) - TARGET)
    return torch.stack(steps) if steps else log_step.new_zeros(0, len(log_step))


def _anneal(terms: Terms, z: Tensor, schedule: Tensor, steps: Tensor, leapfrog: int) -> Tensor:
    """log w (K, B) = sum_t (b_t - b_{t-1}) log_ratio(z_{t-1}) of chains that start at z."""
    state = State(z, *terms(z))
    log_w = (schedule[1] - schedule[0]) * state.log_ratio
    for number, (beta, after) in enumerate(progress_bar(list(pairwise(schedule[1:])), "annealing")):
        state, _ = _move(terms, state, beta, steps[number], leapfrog)
        log_w = log_w + (after - beta) * state.log_ratio
    return log_w


def _move(
    terms: Terms, state: State, beta: Tensor, step: Tensor, leapfrog: int
) -> tuple[State, Tensor]:
    """A Hamiltonian transition that leaves f_b as it is, and its chance of acceptance (K, B).

    Arguments:
        step: The step size of each image (B,).
    """
    step, momentum = step.unsqueeze(-1), torch.randn_like(state.z)
    new, slope = _look(terms, state.z, beta)
    moved = momentum + step / 2 * slope
    for number in range(leapfrog):
        new, slope = _look(terms, new.z + step * moved, beta)
        moved = moved + (step if number < leapfrog - 1 else step / 2) * slope
    gain = _log_f(new, beta) - _log_f(state, beta)
    gain = gain + 0.5 * (momentum.square() - moved.square()).sum(-1)
    acceptance = gain.clamp(max=0).exp().nan_to_num(0)
    taken = torch.rand_like(acceptance) < acceptance
    z = torch.where(taken.unsqueeze(-1), new.z, state.z)
    rest = (torch.where(taken, *pair) for pair in zip(new[1:], state[1:], strict=True))
    return State(z, *rest), acceptance


def _look(terms: Terms, z: Tensor, beta: Tensor) -> tuple[State, Tensor]:
    """The state at z, and the gradient of log f_b there (K, B, D)."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        state = State(z, *terms(z))
        (slope,) = torch.autograd.grad(_log_f(state, beta).sum(), z)
    return State(*(each.detach() for each in state)), slope


def _log_f(state: State, beta: Tensor) -> Tensor:
    return state.log_start + beta * state.log_ratio
