"""Weight averaging: `callbacks=[default,ema]`.

Reference: Adam: A Method for Stochastic Optimization (Kingma and Ba, 2015), section 7.2,
arXiv:1412.6980
"""

from collections.abc import Sequence

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class EMA(WeightAveraging):
    """Validates and keeps average <- d average + (1 - d) weights, after every optimizer step.

    d = min(decay, (1 + step) / (10 + step)), so that a short run forgets its first weights too.
    Buffers are averaged too: batch normalization needs statistics of the averaged weights.

    Arguments:
        decay: Towards 1 - 1 / (the number of steps that are averaged).
    """

    def __init__(self, decay: float = 0.999):
        if not 0 <= decay <= 1:
            raise ValueError(f"callbacks.ema.decay={decay}: it must lie in [0, 1]")
        super().__init__(use_buffers=True, multi_avg_fn=self._average)
        self.decay = decay

    @torch.no_grad()
    def _average(self, average: Sequence[Tensor], weights: Sequence[Tensor], _: Tensor) -> None:
        if not average[0].is_floating_point():  # a count
            torch._foreach_copy_(list(average), list(weights))
            return
        step = self._latest_update_step
        keep = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(average), list(weights), 1 - keep)
