"""Drawings are centred and scaled like the digits of MNIST."""

import numpy as np
import pytest
from PIL import Image

from vaelab.data.mnist5k import MNIST5k
from vaelab.explorer.ink import format_as_mnist


@pytest.fixture(scope="module")
def digits() -> list[Image.Image]:
    """Return one test digit of each class."""
    images, labels = MNIST5k().load()["test"]
    return [Image.fromarray(images[labels == label][0, 0].numpy()) for label in range(10)]


def draw_on_pad(digit: Image.Image, scale: int, corner: tuple[int, int]) -> Image.Image:
    """Draw the ink of a digit on a pad, enlarged, with its upper left corner at `corner`."""
    ink = digit.crop(digit.getbbox())
    pad = Image.new("L", (280, 280))
    pad.paste(ink.resize((scale * ink.width, scale * ink.height), Image.Resampling.NEAREST), corner)
    return pad


@pytest.mark.parametrize(("scale", "corner"), [(1, (200, 3)), (5, (40, 90)), (13, (0, 20))])
def test_mnist_digit_is_restored_from_any_position_and_scale(digits, scale, corner):
    for digit in digits:
        restored = format_as_mnist(draw_on_pad(digit, scale, corner))
        assert (np.asarray(restored) == np.asarray(digit)).all()


def test_ink_stays_inside_if_its_centre_of_mass_is_off_centre():
    pad = Image.new("L", (280, 280))
    pad.paste(255, (50, 50, 60, 250))
    pad.paste(255, (50, 50, 250, 60))
    assert format_as_mnist(pad).getbbox() == (8, 8, 28, 28)


def test_single_pixel_fills_the_box():
    pad = Image.new("L", (280, 280))
    pad.putpixel((3, 277), 255)
    assert np.count_nonzero(format_as_mnist(pad)) == 400


def test_empty_drawing_is_rejected():
    with pytest.raises(ValueError, match="draw a digit"):
        format_as_mnist(Image.new("L", (280, 280)))
