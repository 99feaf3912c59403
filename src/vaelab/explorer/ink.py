"""A drawn digit, centred and scaled as the digits of MNIST were."""

import numpy as np
from PIL import Image

EDGE, BOX = 28, 20  # of a picture, and of the square that its ink fits into


def as_mnist(drawing: Image.Image) -> Image.Image:
    """Light ink on black to a grey 28x28 picture.

    The box around the ink is scaled, proportions kept, to fit into 20x20, and put where the centre
    of mass of its pixels falls on pixel (14, 14), counted from 0, as it does in all of MNIST.

    Reference: The MNIST Database of Handwritten Digits (LeCun, Cortes and Burges)
    """
    drawing = drawing.convert("L")
    box = drawing.getbbox()
    if box is None:
        raise ValueError("there is nothing on the pad: draw a digit")
    digit = drawing.crop(box)
    scale = BOX / max(digit.size)
    width, height = (max(1, round(scale * edge)) for edge in digit.size)
    digit = digit.resize((width, height), Image.Resampling.BOX)
    canvas = Image.new("L", (EDGE, EDGE))
    x, y = _centre_of_mass(digit)
    canvas.paste(digit, (_corner(x, width), _corner(y, height)))
    return canvas


def _corner(centre: float, edge: int) -> int:
    """Where the picture must begin for its centre to be in pixel 14, all of it inside."""
    return min(max(round(EDGE // 2 - centre), 0), EDGE - edge)


def _centre_of_mass(digit: Image.Image) -> tuple[float, float]:
    """x and y, the pixel in the left upper corner being 0."""
    mass = np.asarray(digit, dtype=np.float64)
    rows, columns = (mass.sum(axis) for axis in (1, 0))
    x, y = ((np.arange(len(each)) * each).sum() / mass.sum() for each in (columns, rows))
    return float(x), float(y)
