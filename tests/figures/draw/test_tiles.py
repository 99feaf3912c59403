import pytest
import torch

from vaelab.figures.draw.style import new_figure
from vaelab.figures.draw.tiles import compute_tile_aspect, plot_tiles

GRAYS = torch.linspace(0.1, 0.6, 6).reshape(2, 3, 1, 1, 1).expand(2, 3, 1, 4, 7)


@pytest.mark.parametrize("gap", [0, 2])
def test_tiles_are_at_the_ticks_of_their_row_and_column(gap):
    axes = new_figure(3, 2).add_subplot()
    layout = plot_tiles(axes, GRAYS, ["a", "b"], ["1", "2", "3"], gap)
    grid = axes.images[0].get_array()
    assert grid.shape == (2 * 4 + 3 * gap, 3 * 7 + 4 * gap, 3)
    for row in range(2):
        for column in range(3):
            x, y = layout.get_centre(row, column)
            assert (x, y) == (axes.get_xticks()[column], axes.get_yticks()[row])
            pixels = grid[int(y), int(x)]
            assert pixels.tolist() == pytest.approx([GRAYS[row, column, 0, 0, 0].item()] * 3)


def test_frame_surrounds_its_tile():
    axes = new_figure(3, 2).add_subplot()
    layout = plot_tiles(axes, GRAYS, ["", ""], [""] * 3)
    layout.draw_frame(axes, 1, 2, "red")
    (frame,) = axes.patches
    x, y = layout.get_centre(1, 2)
    assert frame.get_center() == pytest.approx((x, y))
    assert (frame.get_width(), frame.get_height()) == (7 + 1, 4 + 1)


def test_tile_aspect_is_that_of_the_grid():
    axes = new_figure(3, 2).add_subplot()
    plot_tiles(axes, GRAYS, ["", ""], [""] * 3)
    height, width, _ = axes.images[0].get_array().shape
    assert compute_tile_aspect(GRAYS) == height / width


def test_colours_are_clipped_and_nan_becomes_gray():
    images = torch.full((1, 3, 3, 2, 2), float("nan"))
    images[0, 0] = torch.tensor([2.0, -1.0, 0.25])[:, None, None]
    axes = new_figure(3, 2).add_subplot()
    layout = plot_tiles(axes, images, [""], [""] * 3)
    grid = axes.images[0].get_array()
    pixels = [grid[int(y), int(x)].tolist() for x, y in map(layout.get_centre, (0, 0), (0, 1))]
    assert pixels == [[1, 0, 0.25], [0.5, 0.5, 0.5]]
