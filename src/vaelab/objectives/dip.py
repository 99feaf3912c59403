"""The ELBO with a penalty on the covariance of the latents: `objective=dip`, the DIP-VAE.

Reference: Variational Inference of Disentangled Latent Concepts from Unlabeled Observations
(Kumar et al., 2018), equations 5 to 7, arXiv:1711.00848
"""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import check_non_negative, sample_with_kl
from vaelab.objectives.elbo import ELBO
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE


class DIP(ELBO):
    """The ELBO, plus a penalty that pulls the covariance C of the latents to the identity.

        loss = -ELBO + off_diagonal sum_{i != j} C_ij^2 + diagonal sum_i (C_ii - 1)^2

    Variant I takes C = Cov_x[E[z|x]], the covariance of the posterior means over the batch. Variant
    II adds the mean posterior covariance E_x[Cov[z|x]], which gives the covariance of z.

    Arguments:
        kl: The weighting of the KL.
        variant: I or II.
        off_diagonal: The weight of the off-diagonal elements of C.
        diagonal: The weight of the diagonal elements of C.

    Raises:
        UserError: If a weight is negative or not finite.
    """

    supports_layers = False
    trains_bound = False
    min_images = 2

    def __init__(
        self,
        kl: KLWeighting,
        variant: Literal["I", "II"] = "II",
        off_diagonal: float = 10.0,
        diagonal: float = 10.0,
    ):
        super().__init__(kl)
        check_non_negative(off_diagonal=off_diagonal, diagonal=diagonal)
        self.variant = variant
        self.off_diagonal, self.diagonal = off_diagonal, diagonal

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        q = vae.posterior(torch.zeros(2, vae.posterior.inputs))
        try:
            self.covariance(q)
        except NotImplementedError as error:
            raise UserError(
                f"objective=dip with objective.variant={self.variant} needs closed-form moments of "
                f"q(z|x), which {type(vae.posterior).__name__} does not have: set "
                "posterior=diagonal or full"
            ) from error

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        q = vae.encode(x)
        z, kl = sample_with_kl(q, vae.latents())
        terms = self.compute_terms(-vae.decode(z).log_prob(x), kl, step)
        covariance = self.covariance(q)
        variances = covariance.diagonal()
        off_diagonal = (covariance - variances.diag()).square().sum()
        penalty = self.off_diagonal * off_diagonal
        penalty = penalty + self.diagonal * (variances - 1).square().sum()
        criterion = terms.get("criterion", terms["elbo"]) - penalty
        return terms | {"loss": terms["loss"] + penalty, "dip": penalty, "criterion": criterion}

    def covariance(self, q: Distribution) -> Tensor:
        """Compute C (D, D) from posteriors q(z|x) of batch shape (B,)."""
        centered = q.mean - q.mean.mean(0)
        covariance = centered.T @ centered / len(centered)
        if self.variant == "II":
            full = getattr(q, "covariance_matrix", None)
            covariance = covariance + (q.variance.diag_embed() if full is None else full).mean(0)
        return covariance
