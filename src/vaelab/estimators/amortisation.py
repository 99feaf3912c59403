"""What the encoder costs the ELBO: q(z|x) optimised for one image at a time.

log p(x) - L[q] = (log p(x) - L[q*]) + (L[q*] - L[q]), L the ELBO and q* the best of the family of
q(z|x): the approximation gap, which the family leaves, and the amortisation gap, which the encoder
leaves.

Reference: Inference Suboptimality in Variational Autoencoders (Cremer et al., 2018), section 3,
arXiv:1801.03558
"""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.estimators.importance import chunk_sizes
from vaelab.objectives.base import closed_form_kl, frozen, sample_with_log_prob
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.vae import VAE

SAMPLES = 1000  # of z, that both are judged by
STEPS = 500  # of the optimisation
RATE = 0.05  # of Adam, at its start
FORGETTING = 0.9, 0.99  # of its moments; a longer memory of a bad start's gradients would hold it
DRAWS = 8  # of z in a step


@torch.no_grad()
def amortised_and_optimised_elbo(
    vae: VAE, x: Tensor, samples: int = SAMPLES, steps: int = STEPS
) -> tuple[Tensor, Tensor]:
    """L[q] with q as the encoder gives it, and L[q*], both (B,), with the same noise.

    q* has an encoder output of its own for each image, found by Adam from that of the encoder; all
    weights are as they are, those inside q too. As q* is only nearly the best, the amortisation
    gap is at least their difference in the mean.

    Arguments:
        x: (B, *shape).
        samples: That both are judged by.

    Raises:
        ValueError: If q(z|x) is not made of one encoder output, or its draws have no gradient.
    """
    if reason := reason_not_applicable(vae):
        raise ValueError(reason)
    out, seed = vae.read(x), int(torch.randint(2**31, ()))

    def judged(out: Tensor) -> Tensor:
        with seeded_noise(Stream.EVALUATION, seed):
            return elbo(vae, x, vae.posterior(out), samples)

    return judged(out), judged(optimise_posterior(vae, x, out, steps))


def optimise_posterior(vae: VAE, x: Tensor, out: Tensor, steps: int = STEPS) -> Tensor:
    """The encoder outputs (B, posterior.inputs) that the ELBO of each image is best with.

    Adam, from `out`, its rate on half a cosine to 0.
    """
    with torch.enable_grad(), frozen(vae):
        out = out.detach().clone().requires_grad_()
        adam = torch.optim.Adam([out], betas=FORGETTING)
        for step in range(steps):
            adam.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
            loss = -_elbos(vae, x, vae.posterior(out), DRAWS).mean(0).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
    return out.detach()


def elbo(vae: VAE, x: Tensor, q: Distribution, samples: int) -> Tensor:
    """The mean of log p(x|z) - KL over samples (B,), in memory that they do not change."""
    counts = chunk_sizes(vae, len(x), samples)
    return sum((_elbos(vae, x, q, count).sum(0) for count in counts), x.new_zeros(())) / samples


def reason_not_applicable(vae: VAE) -> str | None:
    """Why q(z|x) cannot be optimised for one image; None if it can."""
    name = type(vae.posterior).__name__
    if vae.layered:
        return "q(z|x) of several layers is not made of one encoder output: set model=mlp or conv"
    if not vae.posterior.density or not vae.posterior.random:
        return f"{name} gives each image one code, so there is no family of q(z|x)"
    if vae.posterior.relaxed:
        return f"the draws of {name} have no gradient outside training: set posterior=diagonal"
    return None


def _elbos(vae: VAE, x: Tensor, q: Distribution, samples: int) -> Tensor:
    """log p(x|z) - KL (samples, B), the KL in closed form where there is one."""
    p = vae.latents()
    z, log_q = sample_with_log_prob(q, samples)
    closed = closed_form_kl(q, p)
    kl = log_q - p.log_prob(z) if closed is None else closed.sum(-1)
    return vae.decode(z).log_prob(x) - kl
