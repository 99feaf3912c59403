"""Small images of series, volumes and rows of tables, for figures that consist of tiles."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from vaelab.figures.draw.style import PALETTE

SERIES_SIZE = (64, 128)  # pixels
ROW_SIZE = 64  # pixels of both edges of a row of a table
MIN_SPACED_WIDTH = 3  # pixels of a bar that has a gap after it
LINE_WIDTH = 1.6  # pixels
MIN_POINTS = 8  # per pixel, at which a line is evaluated
POINTS_PER_STEP = 4  # at least, so that no peak is missed
BACKGROUND = 0.96  # gray, which distinguishes tiles from the gaps between them
ZERO_LINE = 0.85  # gray
GAP = 1  # pixels between two slices
GAP_LEVEL = 0.3  # gray


def draw_series(x: Tensor, low: float, high: float) -> Tensor:
    """Draw each series as lines on light gray, one colour for each channel, and a gray line at 0.

    Arguments:
        x: (N, C, L) with at most as many channels as PALETTE has colours.
        low, high: The values at the lower and the upper edge; lines beyond them stay at the edge.

    Returns:
        Images (N, 3, H, W) in [0, 1].
    """
    height, width = SERIES_SIZE
    points = max(MIN_POINTS, POINTS_PER_STEP * math.ceil(x.shape[-1] / width))
    steps = torch.linspace(0, x.shape[-1] - 1, (width - 1) * points + 1)
    left = steps.floor().long().clamp(max=max(0, x.shape[-1] - 2))
    right, weight = (left + 1).clamp(max=x.shape[-1] - 1), steps - left
    values = x[..., left] * (1 - weight) + x[..., right] * weight
    spread = (high - low) or 1.0

    def to_row(value: Tensor) -> Tensor:
        share = ((value - low) / spread).clamp(0, 1)
        return (1 - share) * (height - 1 - LINE_WIDTH) + (1 + LINE_WIDTH) / 2

    rows = pad(to_row(values), [points // 2] * 2, "replicate")
    rows = rows.unfold(-1, points + 1, points)  # (N, C, W, points)
    top, bottom = rows.amin(-1) - LINE_WIDTH / 2, rows.amax(-1) + LINE_WIDTH / 2
    images = torch.full((len(x), 3, height, width), BACKGROUND)
    if low < 0 < high:
        images[:, :, int(to_row(torch.zeros(())))] = ZERO_LINE
    for channel, colour in zip(range(x.shape[1]), PALETTE, strict=False):
        edge = torch.arange(height).unsqueeze(1)
        covered = torch.minimum(bottom[:, channel, None], edge + 1)
        covered = covered - torch.maximum(top[:, channel, None], edge)
        opacity = covered.clamp(0, 1).unsqueeze(1)
        images = images * (1 - opacity) + _parse_colour(colour) * opacity
    return images


def draw_rows(x: Tensor) -> Tensor:
    """Draw rows of a table as bars on light gray, one for each of the first ROW_SIZE columns.

    Arguments:
        x: (N, D), the height of each bar in [0, 1]; NaN has no bar.

    Returns:
        Images (N, 3, H, W) in [0, 1].
    """
    x = x[:, :ROW_SIZE].clamp(0, 1)
    width = max(1, ROW_SIZE // x.shape[1])
    heights = x.repeat_interleave(width, 1) * (ROW_SIZE - 2) + 1
    heights[:, width - 1 :: width] *= width < MIN_SPACED_WIDTH  # a gap after each wide bar
    edge = torch.arange(ROW_SIZE, 0, -1).view(-1, 1)
    is_bar = (edge <= heights.nan_to_num(0).unsqueeze(1)).unsqueeze(1)
    return torch.where(is_bar, _parse_colour(PALETTE[0]), BACKGROUND)


def _parse_colour(colour: str) -> Tensor:
    """Return a colour such as #0072B2 as (3, 1, 1) in [0, 1]."""
    return torch.tensor([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]).view(3, 1, 1)


def join_middle_slices(x: Tensor) -> Tensor:
    """Join the middle slices of volumes along depth, height and width, side by side.

    Arguments:
        x: (N, C, D, H, W) in [0, 1].

    Returns:
        Images (N, C, max(D, H), 2 W + H + two gaps).
    """
    depth, height, width = x.shape[2:]
    slices = [x[:, :, depth // 2], x[..., height // 2, :], x[..., width // 2]]
    edge = max(depth, height)
    padded = [pad(each, (0, GAP, 0, edge - each.shape[-2]), value=GAP_LEVEL) for each in slices]
    return torch.cat(padded, -1)[..., :-GAP]
