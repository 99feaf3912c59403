"""The contract of a learning-rate schedule: a pure function of the optimizer step."""

from abc import ABC, abstractmethod


class Schedule(ABC):
    """How the learning rate of `optimizer.lr` changes during training."""

    @abstractmethod
    def factor(self, step: int, total: float) -> float:
        """What the learning rate is multiplied by at `step` of `total` optimizer steps."""
