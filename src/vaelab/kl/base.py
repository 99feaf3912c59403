"""The contract of a KL weighting, a pure function of the optimizer step without state."""

import math
from abc import abstractmethod

from torch import Tensor, nn

from vaelab.runtime.distributed import mean_over_processes
from vaelab.runtime.errors import UserError


class KLWeighting(nn.Module):
    """The KL term of the loss, as a function of KL(q(z|x) || p(z)) and the optimizer step.

    Attributes:
        is_linear: True if the term is weight(step) times the KL, so that the weight can be applied
            to each sample of log q(z|x) - log p(z).
    """

    is_linear = True

    @abstractmethod
    def weight(self, step: int) -> float:
        """Return the factor of the KL after `step` optimizer steps."""

    def forward(self, kl: Tensor, step: int) -> Tensor:
        """Compute the weighted term (B,) from the KL (B, D) in nats.

        Arguments:
            kl: The KL (B, D) by latent dimension, or (B, 1) if only the total is known.
            step: The number of optimizer steps taken.
        """
        return self.weight(step) * kl.sum(-1)

    def mean_over_images(self, x: Tensor) -> Tensor:
        """Compute the mean of x (B, *) over the batch, without a gradient.

        In training the mean is taken over the batches of all processes.
        """
        mean = x.detach().mean(0)
        return mean_over_processes(mean) if self.training else mean


def check_beta(beta: float) -> None:
    """Raise a ValueError unless beta is a finite number of at least 0."""
    if not 0 <= beta < math.inf:
        raise UserError(f"kl.beta={beta}: it must be a finite number, not negative")


def check_nats(nats: float) -> None:
    """Raise a ValueError unless nats is a finite number of at least 0."""
    if not 0 <= nats < math.inf:
        raise UserError(f"kl.nats={nats}: it must be a finite number, not negative")


def check_period(period: int) -> None:
    """Raise a ValueError unless the period is at least one optimizer step."""
    if period < 1:
        raise UserError(f"kl.period={period}: it must be at least 1 optimizer step")
