"""The base class of bounds on log p(x) from several samples of z."""

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
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE


class MultiSampleBound(Objective):
    """A bound on log p(x), as a function of the importance weights of K samples.

        loss = -bound(log w_1, ..., log w_K)
        log w_k = log p(x|z_k) - weight (log q(z_k|x) - log p(z_k)),    z_k ~ q(z|x)

    The weight is that of kl=. The other logged terms have weight 1: those of the ELBO are averaged
    over samples, and `iw_bound` is the importance-weighted bound of all samples, whichever bound is
    trained. It is also the criterion of the best weights if the final weight is 1, because it is
    the tightest of these lower bounds; with another weight, the criterion is the trained bound.

    Arguments:
        kl: The weighting of the KL, which must be linear.
        samples: K.

    Raises:
        UserError: If `samples` is below 1, or the KL weighting is not linear in the KL.
    """

    supports_layers = True
    monitor = "val/iw_bound"

    def __init__(self, kl: KLWeighting, samples: int):
        super().__init__()
        check_at_least_one(samples=samples)
        if not kl.is_linear:
            raise UserError(
                f"{type(self).__name__} weights log q(z|x) - log p(z) of each sample, but "
                f"{type(kl).__name__} is not linear in the KL: set kl=constant, warmup or cyclical"
            )
        self.kl = kl
        self.samples = samples

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        if vae.posterior.is_relaxed:
            raise UserError(
                f"{type(self).__name__} needs the density of the samples that it trains on, but "
                f"{type(vae.posterior).__name__} relaxes its samples: set objective=elbo"
            )

    def check_training(self, vae: "VAE") -> None:
        if self.samples > 1 and vae.likelihood.needs_calibration:
            raise UserError(
                "loss.scale=optimal is the scale of the ELBO, from errors that all samples share "
                f"equally, but {type(self).__name__} weights its {self.samples} samples: set "
                "loss.scale=learned"
            )

    @abstractmethod
    def bound(self, log_w: Tensor) -> Tensor:
        """Compute the bound (B,), which training maximises, from log weights (samples, B)."""

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        weight = self.kl.weight(step)
        log_p, kl = self.sample_importance_terms(vae, x, self.count_samples(step), weight)
        return self.compute_terms(-self.bound(log_p - weight * kl), log_p, kl, weight)

    def count_samples(self, step: int) -> int:
        """Return the number of samples after `step` optimizer steps."""
        return self.samples

    def sample_importance_terms(
        self, vae: "VAE", x: Tensor, samples: int, weight: float
    ) -> tuple[Tensor, Tensor]:
        """Sample z, and compute log p(x|z) and log q(z|x) - log p(z), each (samples, B)."""
        z, log_q = sample_with_log_prob(vae.encode(x), samples)
        return importance_terms(vae, x, z, log_q, vae.latents())

    def compute_terms(
        self, loss: Tensor, log_p: Tensor, kl: Tensor, weight: float
    ) -> dict[str, Tensor]:
        """Return the loss (B,) and the terms to log, from log p(x|z) and the KL (samples, B)."""
        terms = {
            "loss": loss,
            "reconstruction": -log_p.mean(0),
            "kl": kl.mean(0),
            "elbo": (log_p - kl).mean(0),
            "iw_bound": log_mean_exp(log_p - kl),
            "kl_weight": loss.new_full((), weight),
        }
        if not self.kl.is_plain:
            terms["criterion"] = self.bound(log_p - self.kl.final_weight * kl).detach()
        return terms
