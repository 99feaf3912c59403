"""Different bounds for the encoder and for the rest: `objective=piwae`.

Reference: Tighter Variational Bounds are Not Necessarily Better (Rainforth et al., 2018),
section 4 (there PIWAE), arXiv:1802.04537
"""

from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.objectives.base import frozen, importance_terms, log_mean_exp, sample_with_log_prob
from vaelab.objectives.miwae import MIWAE

if TYPE_CHECKING:
    from vaelab.vae import VAE


class PIWAE(MIWAE):
    """The encoder climbs MIWAE (M groups of K), decoder and prior IWAE of all M K draws.

    The value of the loss is minus the latter. Each draw is decoded twice.
    """

    layers = False

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        weight = self.kl.weight(step)
        z, log_q = sample_with_log_prob(vae.encode(x), self.samples)
        with frozen(vae.decoder, vae.likelihood, vae.prior):
            log_p, kl = importance_terms(vae, x, z, log_q, vae.latents())
            encoder = self.bound(log_p - weight * kl)
        with frozen(vae.encoder, vae.posterior):
            log_p, kl = importance_terms(vae, x, z.detach(), log_q.detach(), vae.latents())
            rest = log_mean_exp(log_p - weight * kl)
        return self.terms(-rest - (encoder - encoder.detach()), log_p, kl, weight)
