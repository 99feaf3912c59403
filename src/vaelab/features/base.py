"""The contract of a feature network; every data set names the one that suits its images."""

from abc import abstractmethod

from torch import Tensor, nn


class Features(nn.Module):
    """A trained network whose features are compared instead of pixels, for example by FID.

    Distances between pixels say little about how similar two images look.

    Attributes:
        num_features: The number of features of one image.
    """

    num_features: int

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Compute the features of images.

        Arguments:
            x: Images (B, 1 or 3, H, W) in [0, 1].

        Returns:
            (B, num_features).
        """
