"""The base class of autoencoders that match the aggregate posterior q(z) to the prior p(z)."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.objectives.base import (
    Objective,
    check_non_negative,
    check_prior_is_fixed,
    sample_prior,
)

if TYPE_CHECKING:
    from vaelab.vae import VAE


class AggregateMatching(Objective):
    """Reconstruction, plus a weighted discrepancy between q(z) and p(z), from one z per image.

        loss = -log p(x|z) + weight * discrepancy(q(z), p(z)),    z ~ q(z|x)

    The loss has no KL, so q(z|x) may be deterministic, and no ELBO is logged.

    Arguments:
        weight: Nats per unit of the discrepancy.

    Raises:
        UserError: If `weight` is negative or not finite.
    """

    monitor = "val/objective"
    min_images = 2

    def __init__(self, weight: float):
        super().__init__()
        check_non_negative(weight=weight)
        self.weight = weight

    def prepare(self, vae: "VAE") -> None:
        check_prior_is_fixed(vae, self)

    @abstractmethod
    def discrepancy(self, z: Tensor, prior_z: Tensor) -> Tensor:
        """Estimate the discrepancy () of q(z) and p(z) from samples z, prior_z (B, D) of each."""

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z = vae.encode(x).rsample()
        reconstruction = -vae.decode(z).log_prob(x)
        discrepancy = self.discrepancy(z, sample_prior(vae.latents(), len(z)))
        loss = reconstruction + self.weight * discrepancy
        return {
            "loss": loss,
            "reconstruction": reconstruction,
            "discrepancy": discrepancy,
            "objective": -loss,
        }
