import numpy as np
import pytest

from vaelab.figures.draw.curves import plot_metric_curves
from vaelab.runs.history import MetricCurve

STEPS = np.arange(1.0, 101)


def test_stages_that_were_not_logged_are_left_out():
    terms = {
        "ELBO": {"val": MetricCurve(STEPS, -STEPS)},
        "KL": {"train": MetricCurve(STEPS, STEPS)},
    }
    left, right = plot_metric_curves(terms).axes
    assert [line.get_label() for line in left.lines] == ["validation"]
    assert [line.get_label() for line in right.lines] == ["train"]
    assert [axes.get_title() for axes in (left, right)] == ["ELBO", "KL"]
    assert left.get_ylabel() == "nats per image"


def test_first_steps_do_not_determine_the_limits():
    values = np.where(STEPS < 5, 1e6, STEPS)
    low, high = plot_metric_curves({"KL": {"train": MetricCurve(STEPS, values)}}).axes[0].get_ylim()
    assert 0 < low < 5
    assert 100 < high < 110


@pytest.mark.parametrize("value", [305.6779, 0.0, np.nan])
def test_constant_curves_have_a_margin(value):
    axes = plot_metric_curves({"KL": {"val": MetricCurve(STEPS, np.full(100, value))}}).axes[0]
    low, high = axes.get_ylim()
    assert np.isfinite([low, high]).all()
    assert np.isnan(value) or low < value < high


def test_epoch_axis_matches_the_steps():
    figure = plot_metric_curves({"KL": {"val": MetricCurve(STEPS, STEPS)}}, per_epoch=20)
    axes = figure.axes[0]
    (top,) = axes.child_axes
    figure.canvas.draw()
    assert top.get_xlabel() == "epoch"
    assert np.array(axes.get_xlim()) / 20 == pytest.approx(top.get_xlim())


@pytest.mark.parametrize("epochs", [0.4, 1.3, 3, 40])
def test_epoch_ticks_are_whole_numbers(epochs):
    figure = plot_metric_curves({"KL": {"val": MetricCurve(STEPS, STEPS)}}, per_epoch=100 / epochs)
    (top,) = figure.axes[0].child_axes
    figure.canvas.draw()
    labels = [text.get_text() for text in top.get_xticklabels() if text.get_text()]
    assert labels
    assert all("." not in text for text in labels)


def test_single_value_is_plotted_as_a_marker():
    axes = plot_metric_curves({"KL": {"val": MetricCurve(STEPS[:1], STEPS[:1])}}).axes[0]
    assert axes.lines[0].get_marker() == "o"
