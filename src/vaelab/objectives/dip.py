"""The covariance of the codes held to the identity: `objective=dip`.

Reference: Variational Inference of Disentangled Latent Concepts from Unlabeled Observations
(Kumar et al., 2018), equations 5 to 7, arXiv:1711.00848
"""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import check_not_negative, sample_with_kl
from vaelab.objectives.elbo import ELBO

if TYPE_CHECKING:
    from vaelab.vae import VAE


class DIP(ELBO):
    """-ELBO + off_diagonal sum_{i != j} C_ij^2 + diagonal sum_i (C_ii - 1)^2.

    C is the covariance over the batch of the means of q(z|x) (I), or that of z, which adds the mean
    covariance of q(z|x) (II).

    Arguments:
        variant: I or II.
    """

    layers = False

    def __init__(
        self,
        kl: KLWeighting,
        variant: Literal["I", "II"] = "II",
        off_diagonal: float = 10.0,
        diagonal: float = 10.0,
    ):
        super().__init__(kl)
        check_not_negative(off_diagonal=off_diagonal, diagonal=diagonal)
        self.variant = variant
        self.off_diagonal, self.diagonal = off_diagonal, diagonal

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        q = vae.posterior(torch.zeros(2, vae.posterior.inputs))
        try:
            self.covariance(q)
        except NotImplementedError as error:
            raise ValueError(
                f"objective=dip of variant {self.variant} asks for moments that "
                f"{type(vae.posterior).__name__} does not know: set posterior=diagonal or full"
            ) from error

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        q = vae.encode(x)
        z, kl = sample_with_kl(q, vae.latents())
        terms = self.terms(-vae.decode(z).log_prob(x), kl, step)
        covariance = self.covariance(q)
        variances = covariance.diagonal()
        off_diagonal = (covariance - variances.diag()).square().sum()
        penalty = self.off_diagonal * off_diagonal
        penalty = penalty + self.diagonal * (variances - 1).square().sum()
        return terms | {"loss": terms["loss"] + penalty, "dip": penalty}

    def covariance(self, q: Distribution) -> Tensor:
        """C (D, D) of posteriors of batch shape (B,)."""
        deviation = q.mean - q.mean.mean(0)
        covariance = deviation.T @ deviation / len(deviation)
        if self.variant == "II":
            full = getattr(q, "covariance_matrix", None)
            covariance = covariance + (q.variance.diag_embed() if full is None else full).mean(0)
        return covariance
