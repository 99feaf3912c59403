import pytest
import torch

from vaelab.figures.draw.style import new_figure
from vaelab.figures.draw.tiles import plot_tiles, tile_aspect

GREYS = torch.linspace(0.1, 0.6, 6).reshape(2, 3, 1, 1, 1).expand(2, 3, 1, 4, 7)


@pytest.mark.parametrize("gap", [0, 2])
def test_a_tile_is_where_its_row_and_column_are_named(gap):
    axes = new_figure(3, 2).add_subplot()
    place = plot_tiles(axes, GREYS, ["a", "b"], ["1", "2", "3"], gap)
    whole = axes.images[0].get_array()
    assert whole.shape == (2 * 4 + 3 * gap, 3 * 7 + 4 * gap, 3)
    for row in range(2):
        for column in range(3):
            x, y = place.centre(row, column)
            assert (x, y) == (axes.get_xticks()[column], axes.get_yticks()[row])
            found = whole[int(y), int(x)]
            assert found.tolist() == pytest.approx([GREYS[row, column, 0, 0, 0].item()] * 3)


def test_a_frame_goes_around_its_tile_and_touches_no_pixel_of_it():
    axes = new_figure(3, 2).add_subplot()
    place = plot_tiles(axes, GREYS, ["", ""], [""] * 3)
    place.frame(axes, 1, 2, "red")
    (frame,) = axes.patches
    x, y = place.centre(1, 2)
    assert frame.get_center() == pytest.approx((x, y))
    assert (frame.get_width(), frame.get_height()) == (7 + 1, 4 + 1)


def test_the_proportions_are_those_of_the_whole():
    axes = new_figure(3, 2).add_subplot()
    plot_tiles(axes, GREYS, ["", ""], [""] * 3)
    height, width, _ = axes.images[0].get_array().shape
    assert tile_aspect(GREYS) == height / width


def test_colours_stay_and_what_is_no_colour_is_made_one():
    images = torch.full((1, 3, 3, 2, 2), float("nan"))
    images[0, 0] = torch.tensor([2.0, -1.0, 0.25])[:, None, None]
    axes = new_figure(3, 2).add_subplot()
    place = plot_tiles(axes, images, [""], [""] * 3)
    whole = axes.images[0].get_array()
    found = [whole[int(y), int(x)].tolist() for x, y in map(place.centre, (0, 0), (0, 1))]
    assert found == [[1, 0, 0.25], [0.5, 0.5, 0.5]]
