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
    """The negative evidence lower bound, with one sample of z for each image.

        log p(x) >= ELBO(x) = E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z))
            loss(x) = -log p(x|z) + weighted KL(q(z|x) || p(z)),    z ~ q(z|x)

    Arguments:
        kl: The weighting of the KL. With weight 1 the loss is an estimate of -ELBO(x).
    """

    supports_layers = True

    def __init__(self, kl: KLWeighting):
        super().__init__()
        self.kl = kl

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z, kl = sample_with_kl(vae.encode(x), vae.latents())
        reconstruction = -vae.decode(z).log_prob(x)
        return self.compute_terms(reconstruction, kl, step)

    def compute_terms(self, reconstruction: Tensor, kl: Tensor, step: int) -> dict[str, Tensor]:
        """Compute the loss and the ELBO from -log p(x|z) (B,) and the KL (B, D) by dimension."""
        loss = reconstruction + self.kl(kl, step)
        terms = {
            "loss": loss,
            "reconstruction": reconstruction,
            "kl": kl.sum(-1),
            "elbo": -(reconstruction + kl.sum(-1)),
            "kl_weight": loss.new_full((), self.kl.weight(step)),
        }
        if not self.kl.is_plain:
            terms["criterion"] = -(reconstruction + self.kl(kl, self.kl.final_step)).detach()
        return terms
