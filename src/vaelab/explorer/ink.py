"""Centre and scale a drawn digit like the digits of MNIST."""

import numpy as np
from PIL import Image

from vaelab.runtime.errors import UserError

IMAGE_SIZE, INK_BOX = 28, 20  # edge of the image, and of the square into which the ink is scaled


def format_as_mnist(drawing: Image.Image) -> Image.Image:
    """Convert light ink on black to a grayscale image of 28x28 pixels in the format of MNIST.

    The bounding box of the ink is scaled to fit into 20x20 pixels, with its proportions preserved,
    and placed so that its centre of mass is at pixel (14, 14), counted from 0, as in MNIST.

    Raises:
        UserError: If the drawing is empty.

    Reference: The MNIST Database of Handwritten Digits (LeCun, Cortes and Burges)
    """
    drawing = drawing.convert("L")
    box = drawing.getbbox()
    if box is None:
        raise UserError("the drawing is empty: draw a digit")
    digit = drawing.crop(box)
    scale = INK_BOX / max(digit.size)
    width, height = (max(1, round(scale * edge)) for edge in digit.size)
    digit = digit.resize((width, height), Image.Resampling.BOX)
    canvas = Image.new("L", (IMAGE_SIZE, IMAGE_SIZE))
    x, y = _centre_of_mass(digit)
    canvas.paste(digit, (_centred_offset(x, width), _centred_offset(y, height)))
    return canvas


def _centred_offset(centre: float, edge: int) -> int:
    """Return the offset that moves the centre to pixel 14, limited so that all ink stays inside."""
    return min(max(round(IMAGE_SIZE // 2 - centre), 0), IMAGE_SIZE - edge)


def _centre_of_mass(digit: Image.Image) -> tuple[float, float]:
    """Return the centre of mass (x, y) in pixels; the upper left pixel is (0, 0)."""
    mass = np.asarray(digit, dtype=np.float64)
    rows, columns = (mass.sum(axis) for axis in (1, 0))
    x, y = ((np.arange(len(sums)) * sums).sum() / mass.sum() for sums in (columns, rows))
    return float(x), float(y)
