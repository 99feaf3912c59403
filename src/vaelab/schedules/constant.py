"""A constant learning rate: `schedule=constant`."""

from collections.abc import Callable

from torch.optim import Optimizer

from vaelab.schedules.base import Schedule


class ConstantSchedule(Schedule):
    """factor = 1."""

    def factor(self, step: int, total: float) -> float:
        return 1.0

    def build_scheduler(self, optimizer: Optimizer, count_steps: Callable[[], float]) -> None:
        return None
