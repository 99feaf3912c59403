"""A learning rate that falls when the validation stops improving: `schedule=plateau`."""

from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from vaelab.runtime.errors import UserError
from vaelab.schedules.base import LearningRateSchedule


class Plateau(LearningRateSchedule):
    """torch's ReduceLROnPlateau on the value that best.ckpt is chosen by, larger being better.

    Arguments:
        ratio: What the learning rate is multiplied by.
        patience: The number of validations without an improvement after which it is.
        min_delta: The least increase that counts as an improvement.
        min_lr: The lowest learning rate.

    Raises:
        UserError: If `ratio` is not in (0, 1).
    """

    interval = "validation"

    def __init__(
        self, ratio: float = 0.1, patience: int = 10, min_delta: float = 0.0, min_lr: float = 0.0
    ):
        if not 0 < ratio < 1:
            raise UserError(f"schedule.ratio={ratio}: it must be a number in (0, 1)")
        self.ratio = ratio
        self.patience = patience
        self.min_delta = min_delta
        self.min_lr = min_lr

    def build_scheduler(
        self, optimizer: Optimizer, count_steps: Callable[[], float]
    ) -> ReduceLROnPlateau:
        return ReduceLROnPlateau(
            optimizer,
            mode="max",
            factor=self.ratio,
            patience=self.patience,
            threshold=self.min_delta,
            threshold_mode="abs",
            min_lr=self.min_lr,
        )
