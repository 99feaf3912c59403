import numpy as np

from vaelab.figures.draw.kl_per_dimension import plot_kl_per_dimension


def test_rows_are_sorted_by_last_kl():
    kl = np.array([[9.0, 1.0, 0.0], [0.5, 2.0, 1.0]])
    axes = plot_kl_per_dimension(np.array([1, 2]), kl, ["z1", "z2", "z3"]).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["$z_{2}$", "$z_{3}$", "$z_{1}$"]
    assert axes.yaxis_inverted()
    values = axes.collections[0].get_array()
    assert values.tolist() == [[1, 2], [0, 1], [9, 0.5]]


def test_columns_meet_halfway_between_epochs():
    axes = plot_kl_per_dimension(np.array([1, 2, 6]), np.ones((3, 2)), ["z1", "z2"]).axes[0]
    edges = axes.collections[0].get_coordinates()[0, :, 0]
    assert edges.tolist() == [0.5, 1.5, 4, 8]


def test_single_epoch_is_one_column():
    axes = plot_kl_per_dimension(np.array([3]), np.ones((1, 2)), ["z1", "z2"]).axes[0]
    assert axes.collections[0].get_coordinates()[0, :, 0].tolist() == [2.5, 3.5]


def test_many_dimensions_are_counted_instead_of_named():
    names = [f"z{i}" for i in range(1, 201)]
    figure = plot_kl_per_dimension(np.arange(2), np.ones((2, 200)), names)
    axes, scale = figure.axes
    assert not axes.get_yticklabels()
    assert axes.get_ylabel().startswith("200 latent dimensions")
    assert figure.get_figheight() < 5
    assert scale.get_ylabel() == "KL (nats)"
