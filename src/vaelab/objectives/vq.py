"""Reconstruction from the nearest codes, and commitment to them: `objective=vq`.

Reference: Neural Discrete Representation Learning (van den Oord et al., 2017), equation 3, with
the codebook learned as in appendix A.1, arXiv:1711.00937
"""

from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.objectives.base import Objective, check_not_negative, sample_with_kl
from vaelab.posteriors.vq import VQ

if TYPE_CHECKING:
    from vaelab.vae import VAE


class VectorQuantised(Objective):
    """loss = -log p(x|z) - log p(z) + commitment |out - sg(z)|^2, out being the encoder's output.

    q(z|x) is a point, so the first two terms are minus a bound on log p(x). log p(z) is a constant
    for prior=codes; a learned prior learns from it, and the encoder does not.

    Arguments:
        commitment: In nats for a squared distance of 1, summed over latent dimensions; beta in the
            paper.
    """

    def __init__(self, commitment: float = 0.25):
        super().__init__()
        check_not_negative(commitment=commitment)
        self.commitment = commitment

    def prepare(self, vae: "VAE") -> None:
        if not isinstance(vae.posterior, VQ):
            raise ValueError(
                f"objective=vq commits an encoder to codes, which {type(vae.posterior).__name__} "
                "does not have: set posterior=vq, or model=vq"
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
            "perplexity": q.usage,  # type: ignore[attr-defined]
        }
