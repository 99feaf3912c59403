import numpy as np
import pytest
import torch

from vaelab.figures.draw.map import Cloud, plot_decoded_map, plot_latent_map

POINTS = np.random.default_rng(0).normal(size=(200, 2))


def drawn(labels, **more):
    return plot_latent_map(Cloud(POINTS, np.asarray(labels, float), ("$z_1$", "$z_2$"), **more))


@pytest.mark.parametrize("many", [2, 10, 20])
def test_a_legend_names_the_classes_each_in_its_colour(many):
    names = [f"class {i}" for i in range(many)]
    axes = drawn(np.arange(200) % many, classes=names).axes[0]
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.texts] == names
    dots = axes.collections[0].get_facecolors()[:, :3]
    colours = [handle.get_facecolor()[0][:3] for handle in legend.legend_handles]
    assert len({tuple(each) for each in colours}) == many
    np.testing.assert_allclose(dots[:many], colours)


def test_classes_without_names_are_numbered():
    legend = drawn(np.arange(200) % 3 + 4).axes[0].get_legend()
    assert [text.get_text() for text in legend.texts] == ["4", "5", "6"]


@pytest.mark.parametrize("labels", [np.arange(200) % 21, np.linspace(0, 1, 200)])
def test_many_classes_and_measurements_have_a_scale_and_no_legend(labels):
    figure = drawn(labels, title="age")
    assert figure.axes[0].get_legend() is None
    assert figure.axes[1].get_ylabel() == "age"


def test_without_labels_there_is_neither():
    figure = drawn(np.full(200, np.nan))
    assert len(figure.axes) == 1
    assert figure.axes[0].get_legend() is None
    assert len(figure.axes[0].collections[0].get_offsets()) == 200


def test_one_unit_is_one_length_unless_they_are_no_units():
    axes = drawn(np.zeros(200)).axes[0]
    assert axes.get_aspect() == 1
    assert np.ptp(axes.get_xlim()) == pytest.approx(np.ptp(axes.get_ylim()))
    assert (axes.get_xlim()[0] < POINTS[:, 0]).all()
    assert (axes.get_ylim()[1] > POINTS[:, 1]).all()
    assert drawn(np.zeros(200), equal=False).axes[0].get_aspect() == "auto"


def test_beside_a_decoded_plane_stand_the_values_at_its_edges_and_in_its_middle():
    values = [-2.0, -1.0, -0.5, -0.01, 0.5, 1.0, 2.04]
    cloud = Cloud(POINTS, np.full(200, np.nan), ("$z_1$", "$z_2$"))
    left, right = plot_decoded_map(
        cloud, torch.rand(7, 7, 3, 4, 4), values, values[::-1], "given"
    ).axes
    columns = [label.get_text() for label in left.get_xticklabels()]
    rows = [label.get_text() for label in left.get_yticklabels()]
    assert columns == ["-2", "", "-0.5", "0", "0.5", "", "2"]
    assert rows == columns[::-1]
    assert left.get_title() == "given"
    assert len(right.collections[0].get_offsets()) == 200
