"""What the bounds on log p(x) from several draws of z have in common."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import (
    Objective,
    check_at_least_one,
    importance_terms,
    log_mean_exp,
    sample_with_log_prob,
)

if TYPE_CHECKING:
    from vaelab.vae import VAE


class SampledBound(Objective):
    """loss = -bound(log w), with log w_k = log p(x|z_k) + weight log(p(z_k) / q(z_k|x)).

    The weight is that of kl=. The terms are those of the ELBO, in the mean of the draws, and
    `iw_bound`, the importance-weighted bound of all draws at weight 1, whatever is trained.

    Arguments:
        samples: The number of draws.
    """

    layers = True
    monitor = "val/iw_bound"

    def __init__(self, kl: KLWeighting, samples: int):
        super().__init__()
        check_at_least_one(samples=samples)
        if not kl.linear:
            raise ValueError(
                f"{type(self).__name__} weighs log p(z)/q(z|x) draw by draw, which kl="
                "free_bits and kl=capacity do not: set kl=constant, warmup or cyclical"
            )
        self.kl = kl
        self.samples = samples

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        if vae.posterior.relaxed:
            raise ValueError(
                f"{type(self).__name__} asks for the density of the draws it trains on, which "
                f"{type(vae.posterior).__name__} relaxes: set objective=elbo"
            )

    @abstractmethod
    def bound(self, log_w: Tensor) -> Tensor:
        """The log weights (samples, B) to what is maximised (B,)."""

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        weight = self.kl.weight(step)
        log_p, kl = self.draw(vae, x, self.draws(step), weight)
        return self.terms(-self.bound(log_p - weight * kl), log_p, kl, weight)

    def draws(self, step: int) -> int:
        """How many there are in a step."""
        return self.samples

    def draw(self, vae: "VAE", x: Tensor, samples: int, weight: float) -> tuple[Tensor, Tensor]:
        """log p(x|z) and log q(z|x) - log p(z) of each draw, (samples, B)."""
        z, log_q = sample_with_log_prob(vae.encode(x), samples)
        return importance_terms(vae, x, z, log_q, vae.latents())

    def terms(self, loss: Tensor, log_p: Tensor, kl: Tensor, weight: float) -> dict[str, Tensor]:
        return {
            "loss": loss,
            "reconstruction": -log_p.mean(0),
            "kl": kl.mean(0),
            "elbo": (log_p - kl).mean(0),
            "iw_bound": log_mean_exp(log_p - kl),
            "kl_weight": loss.new_full((), weight),
        }
