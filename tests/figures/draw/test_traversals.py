import pytest
import torch

from vaelab.figures.draw.traversals import plot_traversals

VALUES = torch.linspace(-3, 3, 13)


def plot(original):
    images = torch.rand(len(original), 13, 3, 4, 6)
    labels = [f"row {i}" for i in range(len(original))]
    return plot_traversals(
        images, labels, VALUES, torch.tensor(original), "standard deviations"
    ).axes[0]


def test_every_row_and_every_second_column_is_labelled():
    axes = plot([0.0, 1.0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["row 0", "row 1"]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert [text for text in labels if text] == ["-3", "-2", "-1", "0", "1", "2", "3"]
    assert axes.get_xlabel() == "standard deviations; framed: nearest to the original image"


def test_tile_nearest_to_the_original_value_is_framed():
    axes = plot([-3.0, 0.2, 2.9])
    columns = [axes.get_xticks()[i] for i in (0, 6, 12)]
    x, y = zip(*(frame.get_center() for frame in axes.patches), strict=True)
    assert x == pytest.approx(columns)
    assert y == pytest.approx(axes.get_yticks())


def test_no_tile_is_framed_if_the_value_is_out_of_range():
    assert len(plot([-3.2, -3.3, 5.0]).patches) == 1
    assert plot([-3.3, 5.0]).get_xlabel() == "standard deviations"
