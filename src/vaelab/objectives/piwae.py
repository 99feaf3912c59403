"""Different bounds for the encoder and for the decoder: `objective=piwae`.

Reference: Tighter Variational Bounds are Not Necessarily Better (Rainforth et al., 2018),
section 4 (called PIWAE there), arXiv:1802.04537
"""

from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.objectives.base import frozen, importance_terms, log_mean_exp, sample_with_log_prob
from vaelab.objectives.miwae import MIWAE

if TYPE_CHECKING:
    from vaelab.vae import VAE


class PIWAE(MIWAE):
    """The encoder maximises MIWAE, the decoder and the prior maximise IWAE.

        encoder           1/M sum_m log 1/K sum_k w_mk
        decoder, prior    log 1/(M K) sum_mk w_mk

    The value of the loss is minus the bound of the decoder. Each sample is decoded twice.

    Arguments:
        kl: The weighting of the KL.
        groups: M.
        samples: K, the number of samples in each group.
    """

    supports_layers = False

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        weight = self.kl.weight(step)
        z, log_q = sample_with_log_prob(vae.encode(x), self.samples)
        with frozen(vae.decoder, vae.likelihood, vae.prior):
            log_p, kl = importance_terms(vae, x, z, log_q, vae.latents())
            encoder_bound = self.bound(log_p - weight * kl)
        with frozen(vae.encoder, vae.posterior):
            log_p, kl = importance_terms(vae, x, z.detach(), log_q.detach(), vae.latents())
            decoder_bound = log_mean_exp(log_p - weight * kl)
        loss = -decoder_bound - (encoder_bound - encoder_bound.detach())
        return self.compute_terms(loss, log_p, kl, weight)
