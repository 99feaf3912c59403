"""The contract of a KL weighting: a pure function of the optimizer step, so nothing to save."""

import math
from abc import abstractmethod

from torch import Tensor, nn

from vaelab.runtime.distributed import mean_over_processes


class KLWeighting(nn.Module):
    """What the objective adds to the reconstruction term in place of KL(q(z|x) || p(z)).

    Attributes:
        linear: Whether that is weight(step) times the KL, so that it holds draw by draw too.
    """

    linear = True

    @abstractmethod
    def weight(self, step: int) -> float:
        """The factor of the KL after `step` optimizer steps."""

    def forward(self, kl: Tensor, step: int) -> Tensor:
        """KL (B, D) in nats, by latent dimension where known, to the weighted term (B,)."""
        return self.weight(step) * kl.sum(-1)

    def mean_of_images(self, x: Tensor) -> Tensor:
        """The mean of x (B, *) over a batch, without a gradient; in training of all processes."""
        mean = x.detach().mean(0)
        return mean_over_processes(mean) if self.training else mean


def check_beta(beta: float) -> None:
    if not 0 <= beta < math.inf:
        raise ValueError(f"kl.beta={beta}: it must be a finite number, not negative")


def check_nats(nats: float) -> None:
    if not 0 <= nats < math.inf:
        raise ValueError(f"kl.nats={nats}: it must be a finite number, not negative")


def check_period(period: int) -> None:
    if period < 1:
        raise ValueError(f"kl.period={period}: it counts optimizer steps, at least 1")
