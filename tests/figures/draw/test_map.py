import numpy as np
import pytest
import torch

from vaelab.figures.draw.map import LatentMap, plot_decoded_map, plot_latent_map

POINTS = np.random.default_rng(0).normal(size=(200, 2))


def plot(labels, **settings):
    return plot_latent_map(
        LatentMap(POINTS, np.asarray(labels, float), ("$z_1$", "$z_2$"), **settings)
    )


@pytest.mark.parametrize("count", [2, 10, 20])
def test_legend_names_each_class_with_its_colour(count):
    names = [f"class {i}" for i in range(count)]
    axes = plot(np.arange(200) % count, classes=names).axes[0]
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.texts] == names
    dots = axes.collections[0].get_facecolors()[:, :3]
    colours = [handle.get_facecolor()[0][:3] for handle in legend.legend_handles]
    assert len({tuple(colour) for colour in colours}) == count
    np.testing.assert_allclose(dots[:count], colours)


def test_classes_without_names_are_numbered():
    legend = plot(np.arange(200) % 3 + 4).axes[0].get_legend()
    assert [text.get_text() for text in legend.texts] == ["4", "5", "6"]


@pytest.mark.parametrize("labels", [np.arange(200) % 21, np.linspace(0, 1, 200)])
def test_many_classes_and_real_labels_have_a_colour_bar(labels):
    figure = plot(labels, title="age")
    assert figure.axes[0].get_legend() is None
    assert figure.axes[1].get_ylabel() == "age"


def test_map_without_labels_has_neither_legend_nor_colour_bar():
    figure = plot(np.full(200, np.nan))
    assert len(figure.axes) == 1
    assert figure.axes[0].get_legend() is None
    assert len(figure.axes[0].collections[0].get_offsets()) == 200


def test_equal_units_have_equal_scales():
    axes = plot(np.zeros(200)).axes[0]
    assert axes.get_aspect() == 1
    assert np.ptp(axes.get_xlim()) == pytest.approx(np.ptp(axes.get_ylim()))
    assert (axes.get_xlim()[0] < POINTS[:, 0]).all()
    assert (axes.get_ylim()[1] > POINTS[:, 1]).all()
    assert plot(np.zeros(200), equal=False).axes[0].get_aspect() == "auto"


def test_decoded_map_labels_evenly_spaced_values():
    values = [-2.0, -1.0, -0.5, -0.01, 0.5, 1.0, 2.04]
    latent_map = LatentMap(POINTS, np.full(200, np.nan), ("$z_1$", "$z_2$"))
    left, right = plot_decoded_map(
        latent_map, torch.rand(7, 7, 3, 4, 4), values, values[::-1], "title"
    ).axes
    columns = [label.get_text() for label in left.get_xticklabels()]
    rows = [label.get_text() for label in left.get_yticklabels()]
    assert columns == ["-2", "", "-0.5", "0", "0.5", "", "2"]
    assert rows == columns[::-1]
    assert left.get_title() == "title"
    assert len(right.collections[0].get_offsets()) == 200
