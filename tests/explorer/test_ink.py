"""Drawings centred and scaled as the digits of MNIST were."""

import numpy as np
import pytest
from PIL import Image

from vaelab.data.mnist5k import MNIST5k
from vaelab.explorer.ink import as_mnist


@pytest.fixture(scope="module")
def digits() -> list[Image.Image]:
    """One real digit of each class."""
    images, labels = MNIST5k().load()["test"]
    return [Image.fromarray(images[labels == each][0, 0].numpy()) for each in range(10)]


def drawn(digit: Image.Image, scale: int, corner: tuple[int, int]) -> Image.Image:
    """The ink of a digit, enlarged, somewhere on a pad."""
    ink = digit.crop(digit.getbbox())
    pad = Image.new("L", (280, 280))
    pad.paste(ink.resize((scale * ink.width, scale * ink.height), Image.Resampling.NEAREST), corner)
    return pad


@pytest.mark.parametrize(("scale", "corner"), [(1, (200, 3)), (5, (40, 90)), (13, (0, 20))])
def test_a_digit_of_mnist_comes_out_as_it_is_wherever_and_however_large(digits, scale, corner):
    for digit in digits:
        assert (np.asarray(as_mnist(drawn(digit, scale, corner))) == np.asarray(digit)).all()


def test_ink_stays_inside_even_where_its_mass_is_far_from_its_middle():
    pad = Image.new("L", (280, 280))
    pad.paste(255, (50, 50, 60, 250))
    pad.paste(255, (50, 50, 250, 60))
    assert as_mnist(pad).getbbox() == (8, 8, 28, 28)


def test_a_dot_fills_the_box():
    pad = Image.new("L", (280, 280))
    pad.putpixel((3, 277), 255)
    assert np.count_nonzero(as_mnist(pad)) == 400


def test_an_empty_pad_is_refused():
    with pytest.raises(ValueError, match="draw a digit"):
        as_mnist(Image.new("L", (280, 280)))
