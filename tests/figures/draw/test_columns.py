import numpy as np
import pytest

from vaelab.figures.draw.columns import (
    ColumnValues,
    ReconstructedColumn,
    plot_column_histograms,
    plot_pairs,
    plot_reconstruction_table,
)
from vaelab.figures.draw.style import DATA_COLOUR, MODEL_COLOUR

RNG = np.random.default_rng(0)
REAL = ColumnValues("age", RNG.normal(size=300), RNG.normal(size=400))
CATEGORY = ColumnValues("kind", np.array([0, 0, 0, 1.0]), np.array([1.0, 1, 2, 2]), ("a", "b", "c"))
COUNTS = ColumnValues("visits", np.floor(RNG.exponential(300, 300)), np.array([0.0, 3, 5000]))


def test_bars_of_a_category_are_its_relative_frequencies():
    (axes,) = plot_column_histograms([CATEGORY]).axes
    data, samples = (patch.get_data() for patch in axes.patches)
    np.testing.assert_allclose(data.values, [0.75, 0.25, 0])
    np.testing.assert_allclose(samples.values, [0, 0.5, 0.5])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert axes.get_title() == "kind"


def test_data_and_samples_have_the_colours_of_all_figures():
    from matplotlib.colors import to_hex

    figure = plot_column_histograms([REAL])
    data, samples = figure.axes[0].patches
    assert to_hex(data.get_facecolor()).upper() == DATA_COLOUR
    assert to_hex(samples.get_edgecolor()).upper() == MODEL_COLOUR
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["300 training rows", "400 samples"]


def test_missing_values_are_left_out_of_a_histogram():
    column = REAL._replace(data=np.where(np.arange(300) % 2, np.nan, REAL.data))
    patch = plot_column_histograms([column]).axes[0].patches[0]
    counts, edges, _ = patch.get_data()
    assert np.isfinite(counts).all()
    assert np.isfinite(edges).all()


def test_counts_of_several_orders_of_magnitude_have_a_logarithmic_axis():
    axes = plot_column_histograms([COUNTS]).axes[0]
    assert axes.get_xscale() == "symlog"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "10", "100", "1k"]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_every_column_has_a_panel(count):
    assert len(plot_column_histograms([REAL] * count).axes) == count


def test_pair_plot_has_data_below_and_samples_above_the_diagonal():
    other = REAL._replace(name="height", data=REAL.data + 9, samples=REAL.samples - 9)
    panels = np.array(plot_pairs([REAL, other]).axes).reshape(2, 2)
    below, above = (panels[index].collections[0].get_offsets() for index in ((1, 0), (0, 1)))
    np.testing.assert_allclose(below, np.stack([REAL.data, REAL.data + 9], 1))
    np.testing.assert_allclose(above, np.stack([REAL.samples - 9, REAL.samples], 1))
    assert [panels[1, column].get_xlabel() for column in (0, 1)] == ["age", "height"]


def test_table_has_values_above_reconstructions():
    columns = [ReconstructedColumn("age $", ["33", "missing"], ["30", "41"])]
    texts = {
        text.get_text(): text.get_position()[1]
        for text in plot_reconstruction_table(columns, 7).axes[0].texts
    }
    assert texts["33"] < texts["30"]  # the axis points down
    assert texts["missing"] < texts["41"]
    assert {"test row 0", "test row 1"} <= texts.keys()
    assert "1 of 7 columns" in list(texts)[-1]
