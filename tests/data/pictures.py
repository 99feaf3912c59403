"""Pictures that the tests of this folder make for themselves."""

from pathlib import Path

import numpy as np
from PIL import Image


def scene(seed: int = 0, size: tuple[int, int] = (178, 218), mode: str = "RGB") -> Image.Image:
    """A smooth random picture, (width, height) pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def save(image: Image.Image, path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def chw(image: Image.Image) -> np.ndarray:
    """The pixels as PIL has them, (C, H, W)."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
