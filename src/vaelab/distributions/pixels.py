"""The kinds of pixels, or of the values of a table.

The kind of the data's pixels decides whether log p(x|z) is a log probability, a log density or
neither.
"""

from typing import Literal

Pixels = Literal["binary", "levels", "dequantized", "real", "count", "mixed"]
"""binary (0 or 1), levels (one of 256, scaled to [0, 1]), dequantized (a real number in [0, 1] that
stands for a level), real, count (a non-negative whole number, not scaled), or mixed (columns of
several kinds, see `vaelab.distributions.columns`)."""
