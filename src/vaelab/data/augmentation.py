"""Random changes of training images, on their device: `data.augment=[flip,crop,rotate,color]`.

They are a pure function of (seed, epoch, image): a run that resumes, and every number of processes,
trains on the same images. Validation and evaluation never see them.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from vaelab.runtime.errors import UserError
from vaelab.runtime.seeding import Stream, uniform_per_image

AUGMENTATIONS = ("flip", "crop", "rotate", "color")
COMPUTING = ("rotate", "color")  # compute new pixels; the others move them
CROP_MARGIN = 1 / 8  # of height and width; the largest shift of a crop
MAX_ANGLE = 15  # degrees
COLOR_RANGE = 0.2  # of brightness, contrast and saturation, around 1
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


def check_augmentations(names: Sequence[str], shape: Sequence[int]) -> tuple[str, ...]:
    """Return the names of augmentations in the order in which they are applied.

    Raises:
        UserError: If a name is unknown, or x is no image with the channels that it needs.
    """
    for name in names:
        if name not in AUGMENTATIONS:
            known = ", ".join(AUGMENTATIONS)
            raise UserError(f"data.augment=[{','.join(names)}]: {name} is unknown; choose {known}")
    if names and len(shape) != 3:
        raise UserError(
            f"data.augment=[{','.join(names)}] changes images (C, H, W), but data.shape="
            f"{list(shape)}: set data.augment=[]"
        )
    if "color" in names and shape[0] != 3:
        raise UserError(
            f"data.augment=color needs three color channels, but data.shape={list(shape)}: leave "
            "out color"
        )
    return tuple(name for name in AUGMENTATIONS if name in names)


def augment(x: Tensor, names: Sequence[str], seed: int, epoch: int, index: Tensor) -> Tensor:
    """Change images at random, each by its own random numbers.

    - flip mirrors half of the images horizontally.
    - crop shifts an image by up to an eighth of its size; what enters is a reflection of it.
    - rotate turns it about its center by up to 15 degrees, with bilinear interpolation.
    - color multiplies brightness, contrast and saturation by factors from 0.8 to 1.2.

    Arguments:
        x: Images (B, C, H, W), uint8 or floats in [0, 1].
        names: Names of AUGMENTATIONS, in their order.
        seed: The seed of the data set.
        epoch: The number of the epoch.
        index: The index of each image in its split (B,).

    Returns:
        Images like x. Values of uint8 are rounded, and remain 256 levels.
    """
    random = uniform_per_image(seed, index, (7,), Stream.AUGMENTATION, epoch)
    if "flip" in names:
        x = torch.where((random[:, 0] < 0.5).reshape(-1, 1, 1, 1), x.flip(-1), x)
    if "crop" in names:
        x = _shift(x, random[:, 1], random[:, 2])
    if "rotate" in names:
        x = _keep_dtype(_rotate(_to_floats(x), random[:, 3]), x)
    if "color" in names:
        x = _keep_dtype(_change_color(_to_floats(x), random[:, 4:]), x)
    return x


def _to_floats(x: Tensor) -> Tensor:
    return x / 255 if x.dtype == torch.uint8 else x


def _keep_dtype(changed: Tensor, x: Tensor) -> Tensor:
    return (changed * 255).round().to(torch.uint8) if x.dtype == torch.uint8 else changed.to(x)


def _shift(x: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Shift images by whole pixels; vertical and horizontal (B,) lie in [0, 1)."""
    height, width = x.shape[2:]
    margins = [min(edge - 1, max(1, int(edge * CROP_MARGIN))) for edge in (height, width)]
    grown = pad(x.float(), (margins[1], margins[1], margins[0], margins[0]), mode="reflect").to(x)
    starts = [
        (number * (2 * margin + 1)).long()
        for number, margin in zip((vertical, horizontal), margins, strict=True)
    ]
    rows = starts[0].unsqueeze(1) + torch.arange(height, device=x.device)
    columns = starts[1].unsqueeze(1) + torch.arange(width, device=x.device)
    images = torch.arange(len(x), device=x.device).reshape(-1, 1, 1)
    return grown.permute(0, 2, 3, 1)[images, rows.unsqueeze(2), columns.unsqueeze(1)].permute(
        0, 3, 1, 2
    )


def _rotate(x: Tensor, number: Tensor) -> Tensor:
    """Rotate images by (2 number - 1) MAX_ANGLE degrees; number (B,) lies in [0, 1)."""
    angle = (2 * number - 1) * math.radians(MAX_ANGLE)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    ratio = x.shape[3] / x.shape[2]  # coordinates are from -1 to 1 along both edges
    rows = torch.stack([cos, -sin / ratio, zero, sin * ratio, cos, zero], 1)
    grid = affine_grid(rows.reshape(-1, 2, 3), list(x.shape), align_corners=False)
    return grid_sample(x, grid.to(x), padding_mode="reflection", align_corners=False)


def _change_color(x: Tensor, random: Tensor) -> Tensor:
    """Change brightness, contrast and saturation by random (B, 3) in [0, 1)."""
    factors = 1 + COLOR_RANGE * (2 * random - 1)
    brightness, contrast, saturation = factors.to(x).reshape(-1, 3, 1, 1, 1).unbind(1)
    x = x * brightness
    weights = x.new_tensor(LUMINANCE).reshape(1, 3, 1, 1)
    mean = (x * weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    x = mean + contrast * (x - mean)
    gray = (x * weights).sum(1, keepdim=True)
    return (gray + saturation * (x - gray)).clamp(0, 1)
