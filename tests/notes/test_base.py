"""What scripts/notes.py writes."""

import numpy as np
from PIL import Image

from vaelab.figures.draw.style import PALETTE
from vaelab.notes.base import LARGE, write_figure


def test_a_large_picture_keeps_the_colours_of_a_few_dots_apart(tmp_path):
    """Greys that fill it, as of digits, and a dot in the colour of each class."""
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 1), dtype=np.uint8).repeat(3, 2)
    colours = np.array([list(bytes.fromhex(colour[1:])) for colour in PALETTE], dtype=np.uint8)
    pixels[0, : len(colours)] = colours
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "whole.png")
    path = write_figure(picture, tmp_path / "small")
    assert (tmp_path / "whole.png").stat().st_size > LARGE
    with Image.open(path) as file:
        found = np.asarray(file.convert("RGB"))[0, : len(colours)].astype(int)
    distance = np.abs(found[:, None] - found).sum(-1) + 1000 * np.eye(len(found))
    assert distance.min() > 60
    assert np.abs(found - colours).max() < 40
