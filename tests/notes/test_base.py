"""How notes write their figures."""

import numpy as np
from PIL import Image

from vaelab.figures.draw.style import PALETTE
from vaelab.notes.base import MAX_PNG_BYTES, write_figure


def test_quantization_keeps_the_colours_of_small_dots_distinct(tmp_path):
    """The image holds shades of gray, as digits do, and one dot in the colour of each class."""
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 1), dtype=np.uint8).repeat(3, 2)
    colours = np.array([list(bytes.fromhex(colour[1:])) for colour in PALETTE], dtype=np.uint8)
    pixels[0, : len(colours)] = colours
    image = Image.fromarray(pixels)
    image.save(tmp_path / "full.png")
    path = write_figure(image, tmp_path / "reduced")
    assert (tmp_path / "full.png").stat().st_size > MAX_PNG_BYTES
    with Image.open(path) as file:
        reduced = np.asarray(file.convert("RGB"))[0, : len(colours)].astype(int)
    distance = np.abs(reduced[:, None] - reduced).sum(-1) + 1000 * np.eye(len(reduced))
    assert distance.min() > 60
    assert np.abs(reduced - colours).max() < 40
