"""Layers and shapes for data with one, two or three spatial dimensions.

x is a series (C, L), an image (C, H, W) or a volume (C, D, H, W). The convolutional models have one
implementation for all of them: the layers follow from the shape.
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from vaelab.runtime.errors import UserError

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONVOLUTIONS = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORMALIZATIONS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
NOUNS = {1: "a series", 2: "an image", 3: "a volume"}  # by the number of spatial dimensions
MIN_EDGE = 4  # of images whose pixels are given as one row


def make_conv(dims: int, *arguments: Any, **settings: Any) -> nn.Module:
    """Build a convolution over `dims` spatial dimensions, with the arguments of nn.Conv2d."""
    return CONVOLUTIONS[dims](*arguments, **settings)


def make_transposed_conv(dims: int, *arguments: Any, **settings: Any) -> nn.Module:
    """Build a transposed convolution, with the arguments of nn.ConvTranspose2d."""
    return TRANSPOSED_CONVOLUTIONS[dims](*arguments, **settings)


def make_batch_norm(dims: int, channels: int) -> nn.Module:
    """Build a batch normalization over `dims` spatial dimensions."""
    return BATCH_NORMALIZATIONS[dims](channels)


def format_size(size: Sequence[int]) -> str:
    """Return spatial sizes as 64, 28x28 or 16x16x16."""
    return "x".join(map(str, size))


def check_is_spatial(name: str, shape: Sequence[int], instead: str) -> None:
    """Check that a shape has one to three spatial dimensions after the channels.

    Arguments:
        name: What needs such a shape, for the message.
        shape: The shape of one x.
        instead: What else to type.

    Raises:
        UserError: If it is another shape; the message names the shape that is probably meant.
    """
    if len(shape) - 1 in NOUNS:
        return
    for channels in (1, 3):
        edge = math.isqrt(math.prod(shape) // channels)
        if len(shape) == 1 and edge >= MIN_EDGE and channels * edge**2 == shape[0]:
            instead = f"set data.shape=[{channels},{edge},{edge}] for images, or {instead}"
    raise UserError(
        f"{name} needs series (C, L), images (C, H, W) or volumes (C, D, H, W), but data.shape="
        f"{list(shape)}: {instead}"
    )
