"""Grids of images."""

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid


def make_image_grid(images: Tensor, columns: int, magnify: int = 2) -> Image.Image:
    """Arrange images (N, C, H, W), grayscale or RGB in [0, 1], in rows of `columns`.

    NaN pixels become gray.
    """
    tiles = make_grid(
        images.detach().float().cpu().nan_to_num(0.5).clamp(0, 1), columns, pad_value=0.5
    )
    grid = to_pil_image(tiles)
    size = (grid.width * magnify, grid.height * magnify)
    return grid.resize(size, Image.Resampling.NEAREST)


def make_paired_grid(
    x: Tensor, reconstruction: Tensor, columns: int, magnify: int = 2
) -> Image.Image:
    """Arrange images (N, C, H, W) in rows, each above the row of its reconstructions."""
    missing = (0, 0, 0, 0, 0, 0, 0, -len(x) % columns)  # fill the last row to keep rows aligned
    x, reconstruction = (pad(images, missing, value=0.5) for images in (x, reconstruction))
    rows = zip(x.split(columns), reconstruction.split(columns), strict=True)
    return make_image_grid(torch.cat([row for pair in rows for row in pair]), columns, magnify)
