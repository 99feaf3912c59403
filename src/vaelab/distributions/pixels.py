"""The kinds of pixels, by which a likelihood knows what its density is of."""

from typing import Literal

Pixels = Literal["binary", "levels", "dequantized", "real"]
