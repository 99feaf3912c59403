"""A constant learning rate: `schedule=constant`."""

from vaelab.schedules.base import Schedule


class ConstantSchedule(Schedule):
    """factor = 1."""

    def factor(self, step: int, total: float) -> float:
        return 1.0
