"""The contract of a KL weighting, a pure function of the optimizer step without state."""

import math
from abc import abstractmethod

from torch import Tensor, nn

from vaelab.runtime.distributed import mean_over_processes
from vaelab.runtime.errors import UserError

FINAL_STEP = 2**62  # a step after every training
ARRIVED = 1e-3  # relative distance from the final weight within which a weight has arrived


class KLWeighting(nn.Module):
    """The KL term of the loss, as a function of KL(q(z|x) || p(z)) and the optimizer step.

    Attributes:
        is_linear: True if the term is weight(step) times the KL, so that the weight can be applied
            to each sample of log q(z|x) - log p(z).
        final_step: A step at which the term has its final form, which a run is judged by.
    """

    is_linear = True
    final_step: int = FINAL_STEP

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

    @property
    def name(self) -> str:
        """The name of the option in the config group `kl`."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def final_weight(self) -> float:
        """The weight at the end of a training that is long enough."""
        return self.weight(self.final_step)

    @property
    def is_plain(self) -> bool:
        """True if the final term is the KL itself, so that the loss becomes minus the ELBO."""
        return self.is_linear and self.final_weight == 1

    def has_arrived(self, steps: int) -> bool:
        """Return True if the last of so many optimizer steps had the final weight."""
        weight = self.weight(max(steps - 1, 0))
        return math.isclose(weight, self.final_weight, rel_tol=ARRIVED)

    def describe_progress(self, steps: int) -> str:
        """Describe how far the term has come in so many optimizer steps, none of them final."""
        weight = max(self.weight(step) for step in range(max(steps, 1)))
        return f"a weight of {weight:.3g} of {self.final_weight:.3g}"

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
