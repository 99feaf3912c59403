"""The contract of a net that images are compared by; each data set names its own."""

from abc import abstractmethod

from torch import Tensor, nn


class Features(nn.Module):
    """What a trained net sees in pictures, of whose pixels no distance would say how they look.

    Attributes:
        num_features: How many numbers it gives.
    """

    num_features: int

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, 1 or 3, H, W) in [0, 1] to features (B, num_features)."""
