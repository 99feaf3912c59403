"""The amortisation gap: how much ELBO is lost because one encoder predicts q(z|x) for all images.

    log p(x) - L[q] = (log p(x) - L[q*]) + (L[q*] - L[q])

L is the ELBO, q the encoder's posterior and q* the best posterior of the same family for one image.
The first term is the approximation gap, which is due to the family, and the second the
amortisation gap, which is due to the encoder.

Reference: Inference Suboptimality in Variational Autoencoders (Cremer et al., 2018), section 3,
arXiv:1801.03558
"""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.estimators.importance import split_samples
from vaelab.objectives.base import closed_form_kl, frozen, sample_with_log_prob
from vaelab.runtime.errors import UserError
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.vae import VAE

SAMPLES = 1000  # samples of z for each estimate of the ELBO
STEPS = 500  # optimizer steps
LEARNING_RATE = 0.05  # the initial learning rate
ADAM_BETAS = 0.9, 0.99  # a larger second beta would remember the large first gradients too long
SAMPLES_PER_STEP = 8  # samples of z in an optimizer step


@torch.no_grad()
def amortised_and_optimised_elbo(
    vae: VAE, x: Tensor, samples: int = SAMPLES, steps: int = STEPS
) -> tuple[Tensor, Tensor]:
    """Estimate the ELBO of the encoder's q(z|x) and of q*, optimised for each image.

    q* has its own encoder output for each image, which Adam optimises from that of the encoder. All
    weights are frozen, including those of the posterior. Both estimates use the same noise. The
    optimisation finds q* only approximately, so the amortisation gap is at least the mean
    difference.

    Arguments:
        x: (B, *shape).
        samples: The number of samples for each estimate.
        steps: The number of optimizer steps.

    Returns:
        L[q] and L[q*] in nats, both (B,).

    Raises:
        UserError: If q(z|x) is not computed from one encoder output, or its samples have no
            gradient.
    """
    if reason := reason_not_applicable(vae):
        raise UserError(reason)
    out, seed = vae.run_encoder(x), int(torch.randint(2**31, ()))

    def estimate(out: Tensor) -> Tensor:
        with seeded_noise(Stream.EVALUATION, seed):
            return estimate_elbo(vae, x, vae.posterior(out), samples)

    return estimate(out), estimate(optimise_posterior(vae, x, out, steps))


def optimise_posterior(vae: VAE, x: Tensor, out: Tensor, steps: int = STEPS) -> Tensor:
    """Optimise the ELBO of each image with respect to its encoder output.

    Adam starts from `out`, and its learning rate decays to 0 on half a cosine.

    Arguments:
        x: (B, *shape).
        out: The encoder outputs (B, posterior.inputs) to start from.
        steps: The number of optimizer steps.

    Returns:
        The optimised encoder outputs (B, posterior.inputs).
    """
    with torch.enable_grad(), frozen(vae):
        out = out.detach().clone().requires_grad_()
        adam = torch.optim.Adam([out], betas=ADAM_BETAS)
        for step in range(steps):
            adam.param_groups[0]["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
            loss = -_sample_elbo(vae, x, vae.posterior(out), SAMPLES_PER_STEP).mean(0).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
    return out.detach()


def estimate_elbo(vae: VAE, x: Tensor, q: Distribution, samples: int) -> Tensor:
    """Estimate the ELBO of q for each image as the mean over samples of z, decoded in chunks.

    Arguments:
        x: (B, *shape).
        q: q(z|x) with batch shape (B,).
        samples: The number of samples for each image.

    Returns:
        The ELBO in nats (B,).
    """
    counts = split_samples(vae, len(x), samples)
    sums = (_sample_elbo(vae, x, q, count).sum(0) for count in counts)
    return sum(sums, x.new_zeros(())) / samples


def reason_not_applicable(vae: VAE) -> str | None:
    """Return why q(z|x) cannot be optimised for one image, or None if it can."""
    name = type(vae.posterior).__name__
    if vae.layered:
        return (
            "q(z|x) of a model with several layers is not made of one encoder output: set "
            "model=mlp or conv"
        )
    if not vae.posterior.has_density or not vae.posterior.is_random:
        return f"{name} maps each image to a single z, so there is no q(z|x) to optimise"
    if vae.posterior.is_relaxed:
        return f"samples of {name} have no gradient outside training: set posterior=diagonal"
    return None


def _sample_elbo(vae: VAE, x: Tensor, q: Distribution, samples: int) -> Tensor:
    """Compute log p(x|z) - KL (samples, B), with a closed-form KL where one is known."""
    p = vae.latents()
    z, log_q = sample_with_log_prob(q, samples)
    closed = closed_form_kl(q, p)
    kl = log_q - p.log_prob(z) if closed is None else closed.sum(-1)
    return vae.decode(z).log_prob(x) - kl
