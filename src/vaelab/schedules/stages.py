"""A learning rate that falls in stages, each longer than the one before: `schedule=stages`.

Reference: Importance Weighted Autoencoders (Burda et al., 2016), section 5, arXiv:1509.00519
"""

from vaelab.runtime.errors import UserError
from vaelab.schedules.base import Schedule


class Stages(Schedule):
    """A constant factor in each stage i = 0, 1, ..., which is ratio^i times as long as the first.

        factor = last^(i / (stages - 1))

    The defaults are those of the paper: 3^i epochs with factor 10^(-i / 7), 3280 epochs in total.

    Arguments:
        stages: The number of stages.
        ratio: The length of a stage divided by that of the stage before.
        last: The factor of the last stage.

    Raises:
        UserError: If `stages` is below 2, or `ratio` or `last` is not above 0.
    """

    def __init__(self, stages: int = 8, ratio: float = 3.0, last: float = 0.1):
        if stages < 2:
            raise UserError(f"schedule.stages={stages}: it must be at least 2")
        if not ratio > 0 or not last > 0:
            raise UserError(
                f"schedule.ratio={ratio} and schedule.last={last}: both must be above 0"
            )
        lengths = [ratio**i for i in range(stages)]
        self.ends = [sum(lengths[: i + 1]) / sum(lengths) for i in range(stages - 1)]
        self.last = last

    def factor(self, step: int, total: float) -> float:
        stage = sum(step / total >= end for end in self.ends)
        return self.last ** (stage / len(self.ends))
