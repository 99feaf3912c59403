"""Distributions whose elements are independent, in as few operations as their equations have.

torch.distributions has most of them; its checks, broadcasts and wrappers cost a small model a tenth
of its step. The tests hold these against torch's.
"""

from torch import Tensor
from torch.distributions import Distribution


class Factorised(Distribution):
    """The event is the last `dims` dimensions of the parameter; its elements are independent."""

    def __init__(self, parameter: Tensor, dims: int):
        cut = parameter.ndim - dims
        self.last = tuple(range(-dims, 0))
        super().__init__(parameter.shape[:cut], parameter.shape[cut:], validate_args=False)

    def total(self, elements: Tensor) -> Tensor:
        """The sum over the event."""
        return elements.sum(self.last)
