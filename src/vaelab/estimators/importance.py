"""The importance-weighted bound on log p(x) with many samples."""

import math

import torch
from torch import Tensor

from vaelab.objectives.base import importance_terms, sample_with_log_prob
from vaelab.vae import VAE

MAX_DECODER_OUTPUTS = 2**19  # numbers decoded in one chunk; larger chunks exceed the CPU's caches


def importance_bound(vae: VAE, x: Tensor, samples: int) -> Tensor:
    """Compute the bound log 1/K sum_k p(x, z_k) / q(z_k|x) on log p(x) with K samples of q(z|x).

    The samples are decoded in chunks, so the memory does not depend on K.

    Arguments:
        x: (B, *shape).
        samples: The number K of samples for each image.

    Returns:
        The bound in nats (B,).

    Reference: Importance Weighted Autoencoders (Burda et al., 2016), equation 8, arXiv:1509.00519
    """
    q, p = vae.encode(x), vae.latents()
    total = torch.full((len(x),), -math.inf, device=x.device)
    for count in split_samples(vae, len(x), samples):
        log_p, kl = importance_terms(vae, x, *sample_with_log_prob(q, count), p)
        total = torch.logaddexp(total, (log_p - kl).logsumexp(0))
    return total - math.log(samples)


def split_samples(vae: VAE, images: int, samples: int) -> list[int]:
    """Split the samples for each image into chunks of at most MAX_DECODER_OUTPUTS decoder outputs.

    Arguments:
        images: The number of images.
        samples: The number of samples for each image.

    Returns:
        The number of samples for each image in each chunk; their sum is `samples`.
    """
    outputs_per_sample = images * vae.likelihood.outputs * math.prod(vae.shape[1:])
    size = max(1, MAX_DECODER_OUTPUTS // outputs_per_sample)
    return [min(size, samples - done) for done in range(0, samples, size)]
