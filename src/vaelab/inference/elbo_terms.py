"""The terms of the ELBO for one sample of q(z|x) per image."""

from typing import NamedTuple

from torch import Tensor
from torch.distributions import Distribution

from vaelab.inference.batches import PerImage
from vaelab.objectives.base import sample_with_kl
from vaelab.vae import VAE


class ELBOSample(NamedTuple):
    """The ELBO of images x (B, *shape), estimated with one sample of q(z|x) each.

    Attributes:
        q: q(z|x).
        z: The samples (B, latent_dim).
        p: p(x|z).
        kl: The KL (B, D) in nats: D is the number of latent dimensions, or of layers, or 1. None if
            q(z|x) has no density.
        terms: reconstruction (B,), and if q(z|x) has a density kl (B,) and elbo (B,), in nats.
    """

    q: Distribution
    z: Tensor
    p: Distribution
    kl: Tensor | None
    terms: PerImage


def sample_elbo_terms(model: VAE, x: Tensor) -> ELBOSample:
    """Sample z from q(z|x) and compute the terms of the ELBO."""
    q = model.encode(x)
    if not model.posterior.has_density:
        z = q.rsample()
        p = model.decode(z)
        return ELBOSample(q, z, p, None, {"reconstruction": -p.log_prob(x)})
    z, kl = sample_with_kl(q, model.latents())
    p = model.decode(z)
    terms = {"reconstruction": -p.log_prob(x), "kl": kl.sum(-1)}
    return ELBOSample(q, z, p, kl, terms | {"elbo": -(terms["reconstruction"] + terms["kl"])})
