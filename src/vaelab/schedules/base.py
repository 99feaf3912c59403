"""The contract of a learning rate schedule.

A `Schedule` is a pure function of the optimizer step. Schedulers of torch, which may have a state,
are a `TorchSchedule` or a `Plateau`; checkpoints contain their state.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from vaelab.runtime.errors import UserError

Interval = Literal["step", "epoch", "validation"]


class LearningRateSchedule(ABC):
    """Builds the scheduler of an optimizer.

    Attributes:
        interval: When the scheduler takes a step: after each optimizer step, epoch or validation.
            A step after a validation receives the monitored value of the objective.
    """

    interval: Interval = "step"

    @abstractmethod
    def build_scheduler(
        self, optimizer: Optimizer, count_steps: Callable[[], float]
    ) -> LRScheduler | None:
        """Build the scheduler; None keeps the learning rate constant.

        Arguments:
            count_steps: Returns the number of optimizer steps of the whole training, infinity or
                -1 if it is unknown. It may load the data.
        """


class Schedule(LearningRateSchedule):
    """A learning rate schedule: the learning rate at a step is factor * optimizer.lr."""

    @abstractmethod
    def factor(self, step: int, total: float) -> float:
        """Return the factor of the learning rate.

        Arguments:
            step: The number of optimizer steps taken.
            total: The number of optimizer steps of the whole training.
        """

    def build_scheduler(
        self, optimizer: Optimizer, count_steps: Callable[[], float]
    ) -> LRScheduler | None:
        total = count_steps()
        if not 0 <= total < math.inf:
            raise UserError(
                f"schedule: {type(self).__name__} needs to know the number of optimizer steps, but "
                "this training has no end: set trainer.max_epochs, or trainer.max_steps if the "
                "number of batches is unknown"
            )
        total = max(total, 1)  # Trainer(max_steps=0) has none
        return LambdaLR(optimizer, lambda step: self.factor(step, total))
