"""Any learning rate scheduler of torch: `schedule=torch`."""

from collections.abc import Callable
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from vaelab.runtime.errors import UserError
from vaelab.schedules.base import LearningRateSchedule


class TorchSchedule(LearningRateSchedule):
    """A scheduler of torch.optim.lr_scheduler, which takes a step in each interval.

    Arguments:
        scheduler: Builds the scheduler from the optimizer, such as
            `partial(torch.optim.lr_scheduler.StepLR, step_size=1000)`.
        interval: step (of the optimizer) or epoch.

    Raises:
        UserError: If the interval is another one, or the scheduler needs a monitored value.
    """

    def __init__(
        self,
        scheduler: Callable[[Optimizer], LRScheduler],
        interval: Literal["step", "epoch"] = "step",
    ):
        if interval not in ("step", "epoch"):
            raise UserError(f"schedule.interval={interval}: choose from step, epoch")
        if not callable(scheduler):
            raise UserError("schedule.scheduler needs the key _partial_: true")
        self.scheduler = scheduler
        self.interval = interval

    def build_scheduler(
        self, optimizer: Optimizer, count_steps: Callable[[], float]
    ) -> LRScheduler:
        scheduler = self.scheduler(optimizer)
        if isinstance(scheduler, ReduceLROnPlateau):
            raise UserError("ReduceLROnPlateau needs a monitored value: set schedule=plateau")
        return scheduler
