"""A critic that judges overlapping patches of x.

Reference: Image-to-Image Translation with Conditional Adversarial Networks (Isola et al., 2017),
section 3.2.2, arXiv:1611.07004
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from vaelab.models.base import build_activation
from vaelab.models.conv import compute_halved_sizes, make_downsampling_conv
from vaelab.models.spatial import make_conv


class PatchCritic(nn.Module):
    """Strided convolutions, and a convolution to one logit for each remaining position.

    With n strided convolutions of kernel size 4, a logit depends on a patch whose edge has
    5 * 2^n - 2 pixels: 8, 18, 38, ...

    Arguments:
        shape: The shape of one x: a series, an image or a volume.
        channels: The channels of each strided convolution, which halves the size.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int] = (32, 64),
        kernel_size: int = 4,
        activation: str = "LeakyReLU",
    ):
        super().__init__()
        compute_halved_sizes(shape, channels, kernel_size)
        dims = len(shape) - 1
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([shape[0], *channels]):
            layers += [
                make_downsampling_conv(dims, inputs, outputs, kernel_size),
                build_activation(activation),
            ]
        self.layers = nn.Sequential(*layers, make_conv(dims, channels[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits (B, positions) of images x (B, *shape)."""
        return self.layers(x).flatten(1)
