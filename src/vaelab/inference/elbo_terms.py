"""The terms of the ELBO at one z of q(z|x) for each image."""

from typing import NamedTuple

from torch import Tensor
from torch.distributions import Distribution

from vaelab.inference.batches import PerImage
from vaelab.objectives.base import sample_with_kl
from vaelab.vae import VAE


class ELBOSample(NamedTuple):
    """Images x (B, *shape) seen through one z of q(z|x) each.

    Attributes:
        q, z, p: q(z|x), z (B, latent_dim) and p(x|z).
        kl: By dimension or layer or in all, (B, D); None without a density q(z|x).
        terms: reconstruction, and with a density kl and elbo, (B,) in nats.
    """

    q: Distribution
    z: Tensor
    p: Distribution
    kl: Tensor | None
    terms: PerImage


def sample_elbo_terms(model: VAE, x: Tensor) -> ELBOSample:
    """One z of q(z|x), and the terms of the ELBO at it."""
    q = model.encode(x)
    if not model.posterior.density:
        z = q.rsample()
        p = model.decode(z)
        return ELBOSample(q, z, p, None, {"reconstruction": -p.log_prob(x)})
    z, kl = sample_with_kl(q, model.latents())
    p = model.decode(z)
    terms = {"reconstruction": -p.log_prob(x), "kl": kl.sum(-1)}
    return ELBOSample(q, z, p, kl, terms | {"elbo": -(terms["reconstruction"] + terms["kl"])})
