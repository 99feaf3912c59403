"""Grids of images."""

import math

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

NOTE_SIZE = 14  # pixels


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


def add_note(grid: Image.Image, note: str) -> Image.Image:
    """Write a line of text below a grid, on white; an empty line changes nothing."""
    if not note:
        return grid
    font = ImageFont.load_default(NOTE_SIZE)
    width = max(grid.width, math.ceil(font.getlength(note)) + NOTE_SIZE)
    page = Image.new("RGB", (width, grid.height + 2 * NOTE_SIZE), "white")
    page.paste(grid)
    place = (NOTE_SIZE // 2, grid.height + NOTE_SIZE // 4)
    ImageDraw.Draw(page).text(place, note, "black", font)
    return page


def make_paired_grid(
    x: Tensor, reconstruction: Tensor, columns: int, magnify: int = 2
) -> Image.Image:
    """Arrange images (N, C, H, W) in rows, each above the row of its reconstructions."""
    missing = (0, 0, 0, 0, 0, 0, 0, -len(x) % columns)  # fill the last row to keep rows aligned
    x, reconstruction = (pad(images, missing, value=0.5) for images in (x, reconstruction))
    rows = zip(x.split(columns), reconstruction.split(columns), strict=True)
    return make_image_grid(torch.cat([row for pair in rows for row in pair]), columns, magnify)
