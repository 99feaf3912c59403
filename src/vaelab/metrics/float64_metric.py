"""The base of metrics whose sums are float64."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from vaelab.runtime.precision import has_float64


class Float64Metric(Metric):
    """A metric with float64 states, which stay on the CPU if a device has no float64.

    `update` has to convert its arguments by `to_double`, which does the same.
    """

    def _apply(
        self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()
    ) -> nn.Module:
        """Move the states to another device; `Module.to` and `Module.cuda` call it."""
        if not has_float64(fn(torch.empty(0)).device):
            return self
        return super()._apply(fn, exclude_state)
