"""The KL and an MMD between q(z) and p(z): `objective=info_mmd`, the InfoVAE.

Reference: InfoVAE: Balancing Learning and Inference in Variational Autoencoders (Zhao et al.,
2019), equation 6 with MMD, arXiv:1706.02262
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.objectives.base import (
    Objective,
    check_prior_is_fixed,
    sample_prior,
    sample_with_kl,
)
from vaelab.objectives.mmd import KernelName, MultiScaleMMD
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE


class InfoMMD(Objective):
    """The ELBO with a reweighted KL, plus the squared MMD of the aggregate posterior to the prior.

        loss = -log p(x|z) + (1 - alpha) KL(q(z|x) || p(z))
               + (alpha + strength - 1) MMD^2(q(z), p(z)),    z ~ q(z|x)

    Only the KL trains a learned prior: the MMD has no gradient for the samples of p(z).

    Arguments:
        alpha: At most 1. At 1 there is no KL, so information about x in z costs nothing.
        strength: lambda in the paper; at least 1 - alpha.
        kernel: imq (inverse multiquadratic) or rbf, see MultiScaleMMD.
        scales: The kernel scales, in units of the prior's standard deviation.

    Raises:
        UserError: If `alpha`, `strength` or `scales` is out of range.
    """

    supports_layers = True
    trains_bound = False
    min_images = 2

    def __init__(
        self,
        alpha: float = 0.0,
        strength: float = 100.0,
        kernel: KernelName = "rbf",
        scales: Sequence[float] = (1.0,),
    ):
        super().__init__()
        if not alpha <= 1:
            raise UserError(f"objective.alpha={alpha}: it must be at most 1")
        if alpha + strength < 1:
            raise UserError(
                f"objective.strength={strength}: it must be at least 1 - objective.alpha, which is "
                f"{1 - alpha}"
            )
        self.alpha, self.strength = alpha, strength
        self.mmd = MultiScaleMMD(kernel, scales)

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        if self.alpha == 1:
            check_prior_is_fixed(vae, self)

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        p = vae.latents()
        z, kl = sample_with_kl(vae.encode(x), p)
        reconstruction, kl = -vae.decode(z).log_prob(x), kl.sum(-1)
        mmd = self.mmd(z, sample_prior(p, len(z)))
        loss = reconstruction + (1 - self.alpha) * kl + (self.alpha + self.strength - 1) * mmd
        return {
            "loss": loss,
            "reconstruction": reconstruction,
            "kl": kl,
            "elbo": -(reconstruction + kl),
            "mmd": mmd,
            "criterion": -loss,
        }
