"""The importance-weighted bound on log p(x) with many samples."""

import math

import torch
from torch import Tensor

from vaelab.objectives.base import importance_terms, sample_with_log_prob
from vaelab.vae import VAE

CHUNK = 2**19  # decoder outputs at once: more leave the caches of a CPU


def importance_bound(vae: VAE, x: Tensor, samples: int) -> Tensor:
    """log 1/K sum_k p(x, z_k) / q(z_k|x) (B,) for K samples, in memory that K does not change.

    Reference: Importance Weighted Autoencoders (Burda et al., 2016), equation 8, arXiv:1509.00519
    """
    q, p = vae.encode(x), vae.latents()
    total = torch.full((len(x),), -math.inf, device=x.device)
    for count in chunk_sizes(vae, len(x), samples):
        log_p, kl = importance_terms(vae, x, *sample_with_log_prob(q, count), p)
        total = torch.logaddexp(total, (log_p - kl).logsumexp(0))
    return total - math.log(samples)


def chunk_sizes(vae: VAE, images: int, samples: int) -> list[int]:
    """How many of the samples of each of so many images are decoded at once, one after another."""
    most = max(1, CHUNK // (images * vae.likelihood.outputs * math.prod(vae.shape[1:])))
    return [min(most, samples - done) for done in range(0, samples, most)]
