"""Pictures side by side."""

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid


def image_grid(images: Tensor, columns: int, magnify: int = 2) -> Image.Image:
    """Images (N, C, H, W) with values in [0, 1], grey or RGB, in rows of `columns`; nan is grey."""
    tiles = make_grid(
        images.detach().float().cpu().nan_to_num(0.5).clamp(0, 1), columns, pad_value=0.5
    )
    picture = to_pil_image(tiles)
    size = (picture.width * magnify, picture.height * magnify)
    return picture.resize(size, Image.Resampling.NEAREST)


def paired_grid(x: Tensor, reconstruction: Tensor, columns: int) -> Image.Image:
    """Images (N, C, H, W) in rows, each row above the row of its reconstructions."""
    gap = (0, 0, 0, 0, 0, 0, 0, -len(x) % columns)  # fill the last row, or the rows would shift
    x, reconstruction = (pad(images, gap, value=0.5) for images in (x, reconstruction))
    rows = zip(x.split(columns), reconstruction.split(columns), strict=True)
    return image_grid(torch.cat([part for pair in rows for part in pair]), columns)
