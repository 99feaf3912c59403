"""Annealed importance sampling: a bound on log p(x) that does not depend on q(z|x).

Chains start at samples of p(z) and move to p(z|x) through the unnormalized densities
f_b(z) = p(z) p(x|z)^b, where the inverse temperature b increases from 0 to 1.

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

from vaelab.estimators.importance import split_samples
from vaelab.objectives.base import frozen, log_mean_exp
from vaelab.runtime.distributed import progress_bar
from vaelab.runtime.errors import UserError
from vaelab.vae import VAE

CHAINS = 16
TEMPERATURES = 500
LEAPFROG_STEPS = 5
PILOT_CHAINS = 4  # chains for each image that tune the step sizes
TARGET_ACCEPTANCE = 0.65  # acceptance rate
INITIAL_STEP_SIZE = 0.1
ADAPTATION_RATE = 0.1  # change of log step size per excess of the acceptance rate over its target
LOGISTIC_EDGE = 4.0  # b follows a logistic function between -LOGISTIC_EDGE and LOGISTIC_EDGE

ChainStart = Literal["prior", "posterior"]
LogTerms = Callable[[Tensor], tuple[Tensor, Tensor]]


class ChainState(NamedTuple):
    """The state of K chains for each of B images.

    Attributes:
        z: (K, B, D).
        log_start: log f_0(z) (K, B).
        log_ratio: log f_1(z) - log f_0(z) (K, B); log f_b(z) is log_start + b log_ratio.
    """

    z: Tensor
    log_start: Tensor
    log_ratio: Tensor


@torch.no_grad()
def annealed_bound(
    vae: VAE,
    x: Tensor,
    chains: int = CHAINS,
    temperatures: int = TEMPERATURES,
    leapfrog: int = LEAPFROG_STEPS,
    start: ChainStart = "prior",
) -> tuple[Tensor, Tensor]:
    """Estimate log p(x) as log 1/K sum_k w_k; in expectation it is a lower bound.

    E[w] = p(x) holds exactly, because each transition leaves its f_b invariant: it is a Hamiltonian
    trajectory that is accepted or rejected by the Metropolis rule. Its step size is tuned to an
    acceptance rate of 0.65. If the chains tuned their own step size, their transitions would
    depend on their past, and E[w] = p(x) would no longer hold. Pilot chains therefore tune the
    step size of each temperature and image first, and their weights are not used.

    Arguments:
        x: (B, *shape).
        chains: The number K of chains for each image.
        temperatures: The number of steps of b.
        leapfrog: The number of leapfrog steps of a transition.
        start: Where chains start: "prior" for p(z), or "posterior" for q(z|x) with
            f_b = q(z|x)^(1-b) p(x, z)^b.

    Returns:
        The bound in nats (B,) and its standard error over chains (B,). The error is that of the
        logarithm of a mean: it is too small if a few chains have most of the weight.

    Raises:
        UserError: If z is not a real vector, or q(z|x) or p(z) lacks the density that is needed.
    """
    check_arguments(vae, start, chains)
    schedule = make_beta_schedule(temperatures).to(x)
    with frozen(vae):
        terms, sample_start = _make_path(vae, x, start)
        steps = _find_step_sizes(terms, sample_start(PILOT_CHAINS), schedule, leapfrog)
        log_w = torch.cat(
            [
                _run_chains(terms, sample_start(count), schedule, steps, leapfrog)
                for count in split_samples(vae, len(x), chains)
            ]
        )
    return log_mean_exp(log_w), standard_error_over_chains(log_w)


def reason_not_applicable(vae: VAE, start: ChainStart = "prior") -> str | None:
    """Return why annealing cannot be applied to this model, or None if it can."""
    name = type(vae.posterior).__name__
    if not vae.posterior.has_density:
        return f"{name} has no density, so there is no p(x) to estimate by annealing"
    if vae.posterior.support is not constraints.real_vector:
        return (
            f"annealing needs real vectors z, but the latents of {name} lie on "
            f"{vae.posterior.support}: use importance_bound"
        )
    if not vae.prior.has_exact_density:
        return f"log p(z) of {type(vae.prior).__name__} is an estimate: set prior.trace=exact"
    if start == "posterior" and not vae.posterior.has_exact_density:
        return f"{name} has rounding errors away from its own samples: set start='prior'"
    return None


def check_arguments(vae: VAE, start: ChainStart, chains: int) -> None:
    """Raise a ValueError if annealing cannot be applied to this model or there are no chains."""
    if reason := reason_not_applicable(vae, start):
        raise UserError(reason)
    if chains < 1:
        raise UserError(f"chains={chains}: it must be at least 1")


def make_beta_schedule(temperatures: int) -> Tensor:
    """Return inverse temperatures b from 0 to 1 (temperatures + 1,) on a logistic function.

    They are closest together at both ends.
    """
    if temperatures < 1:
        raise UserError(f"temperatures={temperatures}: it must be at least 1")
    logistic = torch.linspace(-LOGISTIC_EDGE, LOGISTIC_EDGE, temperatures + 1).double().sigmoid()
    return (logistic - logistic[0]) / (logistic[-1] - logistic[0])


def standard_error_over_chains(log_w: Tensor) -> Tensor:
    """Compute the standard error (B,) of log_mean_exp of log weights (K, B) over the K chains.

    It is the standard error of the mean of w divided by that mean.
    """
    relative_weights = log_w.softmax(0) * len(log_w)
    return relative_weights.std(0, correction=0) / math.sqrt(len(log_w) - 1)


def _make_path(vae: VAE, x: Tensor, start: ChainStart) -> tuple[LogTerms, Callable[[int], Tensor]]:
    """Return a function for both terms of log f_b(z), and one that samples z (K, B, D) of f_0."""
    q, p = vae.encode(x) if start == "posterior" else None, vae.latents()

    def terms(z: Tensor) -> tuple[Tensor, Tensor]:
        log_q = q.log_prob(z) if q is not None else None
        log_p, log_px = p.log_prob(z), vae.decode(z).log_prob(x)
        return (log_p, log_px) if log_q is None else (log_q, log_p + log_px - log_q)

    def sample_start(chains: int) -> Tensor:
        if q is not None:
            return q.sample(torch.Size([chains]))
        return p.sample(torch.Size([chains] if p.batch_shape else [chains, len(x)]))

    return terms, sample_start


def _find_step_sizes(terms: LogTerms, z: Tensor, schedule: Tensor, leapfrog: int) -> Tensor:
    """Tune the step size for each image and each temperature between the ends (T - 1, B)."""
    state, steps = ChainState(z, *terms(z)), []
    log_step = torch.full_like(state.log_ratio[0], math.log(INITIAL_STEP_SIZE))
    for beta in progress_bar(schedule[1:-1], "finding step sizes"):
        steps.append(log_step.exp())
        state, acceptance = _run_transition(terms, state, beta, steps[-1], leapfrog)
        log_step = log_step + ADAPTATION_RATE * (acceptance.mean(0) - TARGET_ACCEPTANCE)
    return torch.stack(steps) if steps else log_step.new_zeros(0, len(log_step))


def _run_chains(
    terms: LogTerms, z: Tensor, schedule: Tensor, steps: Tensor, leapfrog: int
) -> Tensor:
    """Compute log w (K, B) = sum_t (b_t - b_{t-1}) log_ratio(z_{t-1}) of chains that start at z."""
    state = ChainState(z, *terms(z))
    log_w = (schedule[1] - schedule[0]) * state.log_ratio
    for number, (beta, next_beta) in enumerate(
        progress_bar(list(pairwise(schedule[1:])), "annealing")
    ):
        state, _ = _run_transition(terms, state, beta, steps[number], leapfrog)
        log_w = log_w + (next_beta - beta) * state.log_ratio
    return log_w


def _run_transition(
    terms: LogTerms, state: ChainState, beta: Tensor, step: Tensor, leapfrog: int
) -> tuple[ChainState, Tensor]:
    """Run a Hamiltonian transition that leaves f_b invariant.

    Arguments:
        step: The step size of each image (B,).

    Returns:
        The new state and the acceptance probability (K, B).
    """
    step, momentum = step.unsqueeze(-1), torch.randn_like(state.z)
    new, gradient = _evaluate_with_gradient(terms, state.z, beta)
    new_momentum = momentum + step / 2 * gradient
    for number in range(leapfrog):
        new, gradient = _evaluate_with_gradient(terms, new.z + step * new_momentum, beta)
        new_momentum = new_momentum + (step if number < leapfrog - 1 else step / 2) * gradient
    log_ratio = _log_density(new, beta) - _log_density(state, beta)
    log_ratio = log_ratio + 0.5 * (momentum.square() - new_momentum.square()).sum(-1)
    acceptance = log_ratio.clamp(max=0).exp().nan_to_num(0)
    is_accepted = torch.rand_like(acceptance) < acceptance
    z = torch.where(is_accepted.unsqueeze(-1), new.z, state.z)
    rest = (torch.where(is_accepted, *pair) for pair in zip(new[1:], state[1:], strict=True))
    return ChainState(z, *rest), acceptance


def _evaluate_with_gradient(terms: LogTerms, z: Tensor, beta: Tensor) -> tuple[ChainState, Tensor]:
    """Return the state at z and the gradient of log f_b with respect to z (K, B, D)."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        state = ChainState(z, *terms(z))
        (gradient,) = torch.autograd.grad(_log_density(state, beta).sum(), z)
    return ChainState(*(tensor.detach() for tensor in state)), gradient


def _log_density(state: ChainState, beta: Tensor) -> Tensor:
    """Compute log f_b(z) (K, B)."""
    return state.log_start + beta * state.log_ratio
