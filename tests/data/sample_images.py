"""Images that the tests of this folder create."""

from pathlib import Path

import numpy as np
from PIL import Image


def make_image(seed: int = 0, size: tuple[int, int] = (178, 218), mode: str = "RGB") -> Image.Image:
    """Return a smooth random image of (width, height) pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def save_image(image: Image.Image, path: Path, **options) -> Path:
    """Save an image and create the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def to_chw(image: Image.Image) -> np.ndarray:
    """Return the pixels as PIL has them, (C, H, W)."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
