import pytest
import torch

from vaelab.figures.draw.data_tiles import (
    BACKGROUND,
    ROW_SIZE,
    SERIES_SIZE,
    draw_rows,
    draw_series,
    join_middle_slices,
)


def ink(images):
    """Return the darkness (N, H, W) relative to the background."""
    return BACKGROUND - images.amin(1)


def rows_of_line(x, low, high):
    """Return the mean row of the line of one series in each column."""
    darkness = ink(draw_series(x.view(1, 1, -1), low, high))[0]
    return (darkness * torch.arange(len(darkness)).unsqueeze(1)).sum(0) / darkness.sum(0)


def test_line_rises_from_the_lower_to_the_upper_edge():
    height, width = SERIES_SIZE
    rows = rows_of_line(torch.linspace(1, 3, 7), 1, 3)
    expected = torch.linspace(rows[0], rows[-1], width)
    torch.testing.assert_close(rows, expected, atol=0.5, rtol=0)
    assert rows[0] > height - 3
    assert rows[-1] < 2


@pytest.mark.parametrize("value", [1.0, 1.25, 2.0])
def test_constant_line_has_the_same_width_in_every_column(value):
    darkness = ink(draw_series(torch.full((1, 1, 5), value), 1, 3))[0]
    torch.testing.assert_close(darkness.sum(0), darkness.sum(0).mean().expand(SERIES_SIZE[1]))


def test_values_beyond_the_range_stay_at_the_edge():
    x = torch.tensor([0.0, 9.0, 0.0])
    outside = ink(draw_series(x.view(1, 1, 3), 2, 4))[0]
    assert outside.sum(0).min() > 1
    assert outside[:2, 64].max() > 0.3
    assert outside[-2:, [0, -1]].max() > 0.3


def test_spike_of_one_step_is_visible():
    x = torch.zeros(1, 1, 1000)
    x[..., 500] = 1
    assert ink(draw_series(x, 0, 1))[0, :10].max() > 0.3


def test_channels_have_different_colours():
    images = draw_series(torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]), 0, 1)[0]
    lower, upper = images[:, -2, 60], images[:, 1, 60]
    assert (lower - upper).abs().max() > 0.2


@pytest.mark.parametrize("length", [1, 2])
def test_short_and_constant_series_are_drawn(length):
    images = draw_series(torch.ones(2, 1, length), 1, 1)
    assert images.isfinite().all()
    assert ink(images).max() > 0


def test_middle_slices_lie_side_by_side():
    x = torch.zeros(1, 1, 4, 6, 5)
    x[0, 0, 2], x[..., 3, :], x[..., 2] = 0.2, 0.4, 0.6
    images = join_middle_slices(x)
    assert images.shape == (1, 1, 6, 5 + 1 + 5 + 1 + 6)
    torch.testing.assert_close(images[0, 0, :, :5], x[0, 0, 2])
    torch.testing.assert_close(images[0, 0, :4, 6:11], x[0, 0, :, 3])
    torch.testing.assert_close(images[0, 0, :4, 12:], x[0, 0, :, :, 2])


def test_bars_of_a_row_have_its_heights():
    images = draw_rows(torch.tensor([[0.0, 0.5, 1.0, torch.nan]]))
    assert images.shape == (1, 3, ROW_SIZE, ROW_SIZE)
    heights = (ink(images)[0] > 0.1).sum(0)
    assert heights[[0, 16, 32, 48]].tolist() == [1, 32, 63, 0]
    assert heights[[15, 31]].tolist() == [0, 0]  # gaps


def test_rows_of_many_columns_are_cut():
    assert draw_rows(torch.ones(2, 300)).shape == (2, 3, ROW_SIZE, ROW_SIZE)
