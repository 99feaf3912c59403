"""Training of the prior alone, in a finished run: `objective=prior start=<run>`.

Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), section 3.3,
arXiv:1711.00937
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.distributions.codebook import QuantizedCodes
from vaelab.objectives.base import Objective, sample_with_kl
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE

ENCODED_IMAGES = 500  # in one pass, when latents are standardized


class PriorOnly(Objective):
    """The KL, of which only the prior p(z) has a gradient.

        loss = KL(q(z|x) || p(z))

    A prior with a loss of its own, such as flow_matching, is trained by it instead, on samples of
    q(z|x), and q(z|x) may then be deterministic. For posterior=vq and other codes the KL is
    -log p(z); `bits_per_code` is this in bits, divided by the number of codes. The encoder, the
    posterior with its codebook, the decoder and the likelihood are frozen. The mean KL over images
    is I(x; z) + KL(q(z) || p(z)), with q(z) the mean of q(z|x), so that of the best prior is the
    mutual information I(x; z).
    """

    needs_start = True
    trains_own_loss = True

    def prepare(self, vae: "VAE") -> None:
        if vae.prior.has_own_loss:
            self.monitor = "val/objective"
        elif not vae.posterior.has_density:
            super().prepare(vae)
        if not any(parameter.requires_grad for parameter in vae.prior.parameters()):
            raise UserError(
                f"objective=prior trains only the prior, but {type(vae.prior).__name__} has no "
                "trainable parameters: set prior=pixelcnn or transformer for codes, else "
                "flow_matching, flow or mixture"
            )
        for part in (vae.encoder, vae.posterior, vae.decoder, vae.likelihood):
            part.requires_grad_(False)

    @torch.no_grad()
    def start(self, vae: "VAE", x: Tensor, y: Tensor) -> None:
        """Standardize the latents of a prior with a loss of its own by those of training images."""
        if not vae.prior.has_own_loss:
            return
        vae.eval()
        chunks = zip(x.split(ENCODED_IMAGES), y.split(ENCODED_IMAGES), strict=True)
        vae.prior.standardize(
            torch.cat([vae.condition_on(b).encode(a).sample() for a, b in chunks])
        )
        vae.train()

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        for part in (vae.encoder, vae.posterior, vae.decoder, vae.likelihood):
            part.eval()
        with torch.no_grad():
            q = vae.encode(x)
        if vae.prior.has_own_loss:
            loss = vae.prior.compute_loss(q.sample(), vae.prior_labels)
            return {"loss": loss, "objective": -loss.detach()}
        z, kl = sample_with_kl(q, vae.latents())
        with torch.no_grad():
            reconstruction = -vae.decode(z).log_prob(x)
        kl = kl.sum(-1)
        codes = isinstance(q, QuantizedCodes)
        return {
            "loss": kl,
            "reconstruction": reconstruction,
            "kl": kl,
            "elbo": -(reconstruction + kl),
            **({"bits_per_code": kl / (q.indices.shape[-1] * math.log(2))} if codes else {}),
        }
