"""The exact ELBO of a linear VAE, with an affine decoder and a normal likelihood.

Reference: Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse (Lucas et al.,
2019), section 4, arXiv:1911.02469
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from vaelab.distributions.normal import DiagonalNormal
from vaelab.likelihoods.gaussian import Gaussian
from vaelab.posteriors.diagonal import Diagonal
from vaelab.priors.normal import UnitNormal
from vaelab.runtime.errors import UserError
from vaelab.vae import VAE


def is_linear(vae: VAE) -> bool:
    """True if p(x|z) = N(x; W z + b, s^2 I), q(z|x) is a diagonal normal and p(z) is N(0, I).

    The decoder mean f is affine if f(u) + f(v) = f(u + v) + f(0), which is tested on random u, v.
    """
    if vae.layered or vae.conditional or vae.missing:
        return False
    if not isinstance(vae.likelihood, Gaussian) or vae.likelihood.scale is None:
        return False
    if not isinstance(vae.posterior, Diagonal) or not isinstance(vae.prior, UnitNormal):
        return False
    z = torch.randn(2, 8, vae.latent_dim, generator=torch.Generator().manual_seed(0))
    u, v = 10 * z.to(next(vae.parameters()))
    f = [vae.decode(z).mean for z in (u, v, u + v, torch.zeros_like(u))]
    error, change = f[0] + f[1] - f[2] - f[3], f[0] - f[3]
    return bool(error.abs().max() <= 1e-3 * change.abs().max())


def exact_elbo(vae: VAE, x: Tensor) -> Tensor:
    """Compute E_q[log p(x|z)] - KL(q || p) without sampling, for q = N(m, diag(v)).

    E_q |x - W z - b|^2 = |x - W m - b|^2 + sum_d v_d |w_d|^2, with w_d the columns of W.

    Arguments:
        vae: A VAE for which `is_linear` is True.
        x: (B, *shape).

    Returns:
        The ELBO in nats (B,).

    Raises:
        UserError: If q(z|x) is not a diagonal normal.
    """
    q = vae.encode(x)
    if not isinstance(q, DiagonalNormal):
        raise UserError(f"the exact ELBO needs posterior=diagonal, not {type(q).__name__}")
    scale: Any = vae.likelihood.scale
    identity = torch.eye(vae.latent_dim).to(x)
    columns = vae.decode(identity).mean - vae.decode(torch.zeros_like(identity)).mean
    variance_term = (q.variance * columns.flatten(1).square().sum(-1)).sum(-1)
    expected = vae.decode(q.mean).log_prob(x) - variance_term / (2 * scale**2)
    return expected - kl_divergence(q, vae.latents())
