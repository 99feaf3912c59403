"""The kinds of pixels.

The kind of the data's pixels decides whether log p(x|z) is a log probability, a log density or
neither.
"""

from typing import Literal

Pixels = Literal["binary", "levels", "dequantized", "real"]
