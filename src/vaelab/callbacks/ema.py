"""Weight averaging: `callbacks=[default,ema]`.

Reference: Adam: A Method for Stochastic Optimization (Kingma and Ba, 2015), section 7.2,
arXiv:1412.6980
"""

from collections.abc import Sequence

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from vaelab.runtime.errors import UserError
from vaelab.runtime.private_api import latest_averaged_step


class EMA(WeightAveraging):
    """Averages weights after every optimizer step: average <- d average + (1 - d) weights.

    d = min(decay, (1 + step) / (10 + step)), so that a short run forgets its first weights as well.
    Validation and checkpoints use the averaged weights. Buffers are averaged too, because batch
    normalization needs the statistics of the averaged weights.

    Arguments:
        decay: The largest d; 1 - 1 / n averages about n steps.

    Raises:
        UserError: If `decay` is not in [0, 1].
    """

    def __init__(self, decay: float = 0.999):
        if not 0 <= decay <= 1:
            raise UserError(f"callbacks.ema.decay={decay}: it must lie in [0, 1]")
        super().__init__(use_buffers=True, multi_avg_fn=self._average)
        self.decay = decay

    @torch.no_grad()
    def _average(self, average: Sequence[Tensor], weights: Sequence[Tensor], _: Tensor) -> None:
        if not average[0].is_floating_point():  # the number of averaged steps
            torch._foreach_copy_(list(average), list(weights))
            return
        step = latest_averaged_step(self)
        keep = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(average), list(weights), 1 - keep)
