"""The VQ-VAE: `objective=vq`.

Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), equation 3, with
the codebook learned as in appendix A.1, arXiv:1711.00937
"""

from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.objectives.base import Objective, check_non_negative, sample_with_kl
from vaelab.posteriors.vq import VQ
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE


class VectorQuantised(Objective):
    """Reconstruction from the nearest codebook vectors, plus the commitment loss.

        loss = -log p(x|z) - log p(z) + commitment |out - sg(z)|^2

    out is the encoder's output, z its nearest codebook vectors, and sg stops the gradient. q(z|x)
    is a point, so the first two terms are minus a bound on log p(x). log p(z) is constant for
    prior=codes; a learned prior is trained by it, but the encoder is not. The best weights are
    chosen by this bound, without the commitment loss, which only keeps the encoder near the codes.

    Arguments:
        commitment: Nats per unit of the squared distance, which is summed over latent dimensions;
            beta in the paper.

    Raises:
        UserError: If `commitment` is negative or not finite.
    """

    def __init__(self, commitment: float = 0.25):
        super().__init__()
        check_non_negative(commitment=commitment)
        self.commitment = commitment

    def prepare(self, vae: "VAE") -> None:
        if not isinstance(vae.posterior, VQ):
            raise UserError(
                "objective=vq needs a posterior with a codebook, but the posterior is "
                f"{type(vae.posterior).__name__}: set posterior=vq, or model=vq"
            )

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        q = vae.encode(x)
        z, kl = sample_with_kl(q, vae.latents())
        reconstruction, kl = -vae.decode(z).log_prob(x), kl.sum(-1)
        commitment: Tensor = q.commitment  # type: ignore[attr-defined]
        return {
            "loss": reconstruction + kl + self.commitment * commitment,
            "reconstruction": reconstruction,
            "kl": kl,
            "elbo": -(reconstruction + kl),
            "commitment": commitment,
            "perplexity": q.code_perplexity,  # type: ignore[attr-defined]
        }
