"""What the autoencoders that make q(z) like p(z) have in common."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.objectives.base import Objective, check_not_negative, check_prior_is_fixed, sample_prior

if TYPE_CHECKING:
    from vaelab.vae import VAE


class Matching(Objective):
    """loss = reconstruction + weight * discrepancy(q(z), p(z)), from one z for each x.

    There is no KL, so q(z|x) may be deterministic, and no ELBO is logged.

    Arguments:
        weight: In nats for one unit of the discrepancy.
    """

    monitor = "val/objective"

    def __init__(self, weight: float):
        super().__init__()
        check_not_negative(weight=weight)
        self.weight = weight

    def prepare(self, vae: "VAE") -> None:
        check_prior_is_fixed(vae, self)

    @abstractmethod
    def discrepancy(self, z: Tensor, p: Tensor) -> Tensor:
        """Of codes z and draws p of the prior, both (B, D), to a number ()."""

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
