"""The VQ-VAE: `objective=vq`.

Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), equation 3, with
the codebook learned as in appendix A.1, arXiv:1711.00937
"""

from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.distributions.codebook import QuantizedCodes
from vaelab.objectives.base import Objective, check_non_negative, sample_with_kl
from vaelab.posteriors.quantizer import Quantizer
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE

COMMITMENT = 0.25  # beta of the paper


class VectorQuantised(Objective):
    """Reconstruction from the nearest codebook vectors, plus the commitment loss.

        loss = -log p(x|z) - log p(z) + commitment |out - sg(z)|^2 + codebook loss

    out is the encoder's output, z its nearest codebook vectors, and sg stops the gradient. q(z|x)
    is a point, so the first two terms are minus a bound on log p(x). log p(z) is constant for
    prior=codes; a learned prior is trained by it, but the encoder is not. The best weights are
    chosen by this bound, without the commitment loss, which only keeps the encoder near the codes.

    The commitment loss of posterior=residual_vq is a sum over its levels, and posterior=fsq has
    none, because its encoder output is bounded. The codebook loss is that of posterior=lfq and of
    posterior.simvq=true; other posteriors have none.

    Arguments:
        commitment: Nats per unit of the squared distance, which is summed over latent dimensions;
            beta in the paper.

    Raises:
        UserError: If `commitment` is negative or not finite, or is set for a posterior without a
            commitment loss.
    """

    has_commitment: bool

    def __init__(self, commitment: float = COMMITMENT):
        super().__init__()
        check_non_negative(commitment=commitment)
        self.commitment = commitment

    def prepare(self, vae: "VAE") -> None:
        if not isinstance(vae.posterior, Quantizer):
            raise UserError(
                "objective=vq needs a posterior with a codebook, but the posterior is "
                f"{type(vae.posterior).__name__}: set posterior=vq, or model=vq"
            )
        self.has_commitment = vae.posterior.has_commitment
        if not self.has_commitment and self.commitment not in (0, COMMITMENT):
            raise UserError(
                f"objective.commitment={self.commitment}: {type(vae.posterior).__name__} bounds "
                "the encoder output and has no commitment loss: leave the setting out"
            )

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        q: QuantizedCodes = vae.encode(x)  # type: ignore[assignment]
        z, kl = sample_with_kl(q, vae.latents())
        reconstruction, kl = -vae.decode(z).log_prob(x), kl.sum(-1)
        loss, extra = reconstruction + kl, {}
        if self.has_commitment:
            extra["commitment"] = q.commitment
            loss = loss + self.commitment * q.commitment
        if q.codebook_loss is not None:
            extra["codebook_loss"] = q.codebook_loss
            loss = loss + q.codebook_loss
        return {
            "loss": loss,
            "reconstruction": reconstruction,
            "kl": kl,
            "elbo": -(reconstruction + kl),
            **extra,
            "perplexity": q.code_perplexity,
            "code_use": q.code_use,
        }
