"""The prior alone, for a model that is trained but for it: `objective=prior start=<run>`.

Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), section 3.3,
arXiv:1711.00937
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.objectives.base import Objective, sample_with_kl

if TYPE_CHECKING:
    from vaelab.vae import VAE


class PriorOnly(Objective):
    """loss = KL(q(z|x) || p(z)), minimised by p alone; for posterior=vq that is -log p(z).

    Encoder, posterior, decoder and likelihood stay as they are, a codebook too. At the best p the
    loss is the mutual information of x and z, and no weight of the others would make it smaller.
    """

    needs_start = True

    def prepare(self, vae: "VAE") -> None:
        if not vae.posterior.density:
            super().prepare(vae)
        if not any(weight.requires_grad for weight in vae.prior.parameters()):
            raise ValueError(
                f"objective=prior trains the prior alone, and {type(vae.prior).__name__} has "
                "nothing to learn: set prior=pixelcnn for posterior=vq, else flow or mixture"
            )
        for part in (vae.encoder, vae.posterior, vae.decoder, vae.likelihood):
            part.requires_grad_(False)

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        for part in (vae.encoder, vae.posterior, vae.decoder, vae.likelihood):
            part.eval()
        with torch.no_grad():
            q = vae.encode(x)
        z, kl = sample_with_kl(q, vae.latents())
        with torch.no_grad():
            reconstruction = -vae.decode(z).log_prob(x)
        kl = kl.sum(-1)
        return {
            "loss": kl,
            "reconstruction": reconstruction,
            "kl": kl,
            "elbo": -(reconstruction + kl),
        }
