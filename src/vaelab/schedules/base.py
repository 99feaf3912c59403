"""The contract of a learning rate schedule: a pure function of the optimizer step."""

from abc import ABC, abstractmethod


class Schedule(ABC):
    """A learning rate schedule: the learning rate at a step is factor * optimizer.lr."""

    @abstractmethod
    def factor(self, step: int, total: float) -> float:
        """Return the factor of the learning rate.

        Arguments:
            step: The number of optimizer steps taken.
            total: The number of optimizer steps of the whole training.
        """
