import pytest
import torch

from vaelab.figures.draw.traversals import plot_traversals

VALUES = torch.linspace(-3, 3, 13)


def drawn(own):
    images = torch.rand(len(own), 13, 3, 4, 6)
    labels = [f"row {i}" for i in range(len(own))]
    return plot_traversals(images, labels, VALUES, torch.tensor(own), "deviations").axes[0]


def test_every_row_is_named_and_every_second_value():
    axes = drawn([0.0, 1.0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["row 0", "row 1"]
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert [text for text in shown if text] == ["-3", "-2", "-1", "0", "1", "2", "3"]
    assert axes.get_xlabel() == "deviations; framed: nearest to the image's own"


def test_the_tile_nearest_to_the_images_own_value_is_framed():
    axes = drawn([-3.0, 0.2, 2.9])
    columns = [axes.get_xticks()[i] for i in (0, 6, 12)]
    x, y = zip(*(frame.get_center() for frame in axes.patches), strict=True)
    assert x == pytest.approx(columns)
    assert y == pytest.approx(axes.get_yticks())


def test_none_is_framed_where_the_value_lies_beyond_them():
    assert len(drawn([-3.2, -3.3, 5.0]).patches) == 1
    assert drawn([-3.3, 5.0]).get_xlabel() == "deviations"
