"""Imputation of missing values by importance weighting.

Reference: MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets (Mattei and
Frellsen, 2019), section 3, arXiv:1812.02633
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.distributions.masked import Masked
from vaelab.estimators.importance import split_samples
from vaelab.objectives.base import sample_with_log_prob
from vaelab.vae import VAE


class Imputation(NamedTuple):
    """What a model infers about the missing values of images x (B, *shape).

    Attributes:
        x: The images with E[x_mis | x_obs] in place of NaN (B, *shape).
        samples: The images with samples of p(x_mis | x_obs) in place of NaN (B, K, *shape).
        log_p_missing: log p(x_mis | x_obs) in nats (B,), if the truth is known, else zeros.
        effective_samples: (sum_k w_k)^2 / sum_k w_k^2 of the importance weights w (B,), at most
            their number. If it is near 1, a single proposal determines the result.
    """

    x: Tensor
    samples: Tensor
    log_p_missing: Tensor
    effective_samples: Tensor


@torch.no_grad()
def impute(
    vae: VAE, x: Tensor, proposals: int, samples: int = 0, truth: Tensor | None = None
) -> Imputation:
    """Estimate E[x_mis | x_obs], and sample p(x_mis | x_obs) by sampling importance resampling.

        E[x_mis | x_obs] = sum_k w_k E[x_mis | z_k] / sum_k w_k,    z_k ~ q(z | x_obs),
        w_k = p(x_obs | z_k) p(z_k) / q(z_k | x_obs)

    log p(x_mis | x_obs) is estimated with the same weights, as the logarithm of the weighted mean
    of p(x_mis | z_k). A model of complete data gets 0 for missing values in its encoder, which may
    be a poor proposal q; the estimates still converge with the number of proposals.

    Arguments:
        vae: A model with a density of q(z|x).
        x: Images (B, *shape), NaN where a value is missing.
        proposals: The number of samples z_k for each image.
        samples: The number K of samples of p(x_mis | x_obs) for each image.
        truth: The images without NaN (B, *shape), to compute log p(x_mis | x_obs).
    """
    observed = ~x.isnan()
    rest = torch.full_like(x, torch.nan) if truth is None else truth.where(~observed, torch.nan)
    total, squares, joint = (torch.full((len(x),), -math.inf, device=x.device) for _ in range(3))
    mean, codes, log_weights = torch.zeros_like(x), [], []
    for z, log_w, p in _weigh_proposals(vae, x, proposals):
        new = torch.logaddexp(total, log_w.logsumexp(0))
        weights = (log_w - new).exp().reshape(*log_w.shape, *[1] * (x.ndim - 1))
        kept = (total - new).exp().reshape(-1, *[1] * (x.ndim - 1))
        mean, total = kept * mean + (weights * p.mean).sum(0), new
        squares = torch.logaddexp(squares, (2 * log_w).logsumexp(0))
        joint = torch.logaddexp(joint, (log_w + p.log_prob(rest)).logsumexp(0))
        codes += [z] if samples else []
        log_weights += [log_w] if samples else []
    drawn = x.new_empty(len(x), 0, *x.shape[1:])
    if samples:
        z, log_w = torch.cat(codes), torch.cat(log_weights)
        chosen = torch.distributions.Categorical(logits=log_w.T).sample(torch.Size([samples]))
        drawn = vae.decode(z[chosen, torch.arange(len(x), device=x.device)]).sample()
        drawn = torch.where(observed, x, drawn).transpose(0, 1)
    effective = (2 * total - squares).exp()
    return Imputation(torch.where(observed, x, mean), drawn, joint - total, effective)


def _weigh_proposals(
    vae: VAE, x: Tensor, proposals: int
) -> Iterator[tuple[Tensor, Tensor, Distribution]]:
    """Yield samples z (S, B, D) of q(z | x_obs), their log weights (S, B) and p(x|z), in chunks."""
    q, prior = vae.encode(x if vae.missing else x.nan_to_num(0)), vae.latents()
    for count in split_samples(vae, len(x), proposals):
        z, log_q = sample_with_log_prob(q, count)
        p = vae.decode(z)
        p = p if vae.missing else Masked(p)
        yield z, p.log_prob(x) + prior.log_prob(z) - log_q, p
