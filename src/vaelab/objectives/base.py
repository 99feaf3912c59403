"""The contract of an objective, and the three steps that every objective is written in."""

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, kl_divergence

from vaelab.distributions.normal import DiagonalNormal

if TYPE_CHECKING:
    from vaelab.vae import VAE


class Objective(nn.Module):
    """What training minimises.

    Attributes:
        monitor: The logged value that checkpoints and sweeps watch; larger is better.
    """

    monitor = "val/elbo"

    def check(self, vae: "VAE") -> None:
        """Refuse a model that it cannot train: by default one without a density q(z|x)."""
        if not vae.posterior.density:
            raise ValueError(
                f"{type(vae.posterior).__name__} is no density, so there is no KL for "
                f"{type(self).__name__}: set objective=autoencoder, or another posterior="
            )

    @abstractmethod
    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        """Images x (B, *shape) to named terms in nats per image, `loss` among them.

        A term is (B,), or () for a statistic of the batch. Sums run over pixels and latent
        dimensions; the mean over images is the caller's.
        """


def draw(q: Distribution, samples: int | None = None) -> tuple[Tensor, Tensor]:
    """Reparameterised z (samples, B, D) and log q(z|x) (samples, B); (B, D) and (B,) for None."""
    size = torch.Size() if samples is None else torch.Size([samples])
    if both := getattr(q, "rsample_and_log_prob", None):  # of a flow, in one pass
        return both(size)
    z = q.rsample(size)
    return z, q.log_prob(z)


def draw_with_kl(q: Distribution, p: Distribution) -> tuple[Tensor, Tensor]:
    """Reparameterised z (B, D) and KL(q || p) in nats, to be summed over its last dimension.

    The closed form of the KL where there is one; else its estimate log q(z) - log p(z) (B, 1).
    """
    kl = closed_kl(q, p)
    if kl is not None:
        return q.rsample(), kl
    z, log_q = draw(q)
    return z, (log_q - p.log_prob(z)).unsqueeze(-1)


def closed_kl(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q || p) by latent dimension (B, D) where q and p have independent dimensions.

    In all (B, 1) where it is only known in all; None where it is not.
    """
    try:
        if isinstance(q, DiagonalNormal) and isinstance(p, DiagonalNormal):
            return q.kl(p)
        if isinstance(q, Independent) and isinstance(p, Independent):
            return kl_divergence(q.base_dist, p.base_dist)
        return kl_divergence(q, p).unsqueeze(-1)
    except NotImplementedError:
        return None


def log_weights(vae: "VAE", x: Tensor, q: Distribution, p: Distribution, samples: int) -> Tensor:
    """log p(x, z) - log q(z|x) (samples, B) for z drawn from q(z|x): their mean is the ELBO.

    Arguments:
        q, p: The posterior of x and the prior.

    Reference: Importance Weighted Autoencoders (Burda et al., 2016), equation 8, arXiv:1509.00519
    """
    z, log_q = draw(q, samples)
    return vae.decode(z).log_prob(x) + p.log_prob(z) - log_q
