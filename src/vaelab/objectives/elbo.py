"""The evidence lower bound: `objective=elbo`.

Reference: Auto-Encoding Variational Bayes (Kingma and Welling, 2014), equation 3, arXiv:1312.6114
"""

from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import Objective, sample_with_kl

if TYPE_CHECKING:
    from vaelab.vae import VAE


class ELBO(Objective):
    """loss = -E_q[log p(x|z)] + weighted KL(q(z|x) || p(z)); one z for each x."""

    layers = True

    def __init__(self, kl: KLWeighting):
        super().__init__()
        self.kl = kl

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z, kl = sample_with_kl(vae.encode(x), vae.latents())
        return self.terms(-vae.decode(z).log_prob(x), kl, step)

    def terms(self, reconstruction: Tensor, kl: Tensor, step: int) -> dict[str, Tensor]:
        """Of a reconstruction term (B,) and a KL (B, D) by dimension."""
        loss = reconstruction + self.kl(kl, step)
        kl = kl.sum(-1)
        return {
            "loss": loss,
            "reconstruction": reconstruction,
            "kl": kl,
            "elbo": -(reconstruction + kl),
            "kl_weight": loss.new_full((), self.kl.weight(step)),
        }
