import numpy as np
import pytest

from vaelab.figures.draw.curves import plot_curves
from vaelab.runs.history import MetricCurve

STEPS = np.arange(1.0, 101)


def test_a_stage_that_was_not_logged_is_left_out():
    found = {
        "ELBO": {"val": MetricCurve(STEPS, -STEPS)},
        "KL": {"train": MetricCurve(STEPS, STEPS)},
    }
    left, right = plot_curves(found).axes
    assert [line.get_label() for line in left.lines] == ["validation"]
    assert [line.get_label() for line in right.lines] == ["train"]
    assert [axes.get_title() for axes in (left, right)] == ["ELBO", "KL"]
    assert left.get_ylabel() == "nats per image"


def test_the_beginning_does_not_decide_what_is_seen():
    values = np.where(STEPS < 5, 1e6, STEPS)
    low, high = plot_curves({"KL": {"train": MetricCurve(STEPS, values)}}).axes[0].get_ylim()
    assert 0 < low < 5
    assert 100 < high < 110


@pytest.mark.parametrize("value", [305.6779, 0.0, np.nan])
def test_what_does_not_change_has_room_above_and_below(value):
    axes = plot_curves({"KL": {"val": MetricCurve(STEPS, np.full(100, value))}}).axes[0]
    low, high = axes.get_ylim()
    assert np.isfinite([low, high]).all()
    assert np.isnan(value) or low < value < high


def test_epochs_are_counted_above_the_steps():
    figure = plot_curves({"KL": {"val": MetricCurve(STEPS, STEPS)}}, per_epoch=20)
    axes = figure.axes[0]
    (above,) = axes.child_axes
    figure.canvas.draw()
    assert above.get_xlabel() == "epoch"
    assert np.array(axes.get_xlim()) / 20 == pytest.approx(above.get_xlim())


@pytest.mark.parametrize("epochs", [0.4, 1.3, 3, 40])
def test_epochs_are_whole(epochs):
    figure = plot_curves({"KL": {"val": MetricCurve(STEPS, STEPS)}}, per_epoch=100 / epochs)
    (above,) = figure.axes[0].child_axes
    figure.canvas.draw()
    shown = [text.get_text() for text in above.get_xticklabels() if text.get_text()]
    assert shown
    assert all("." not in text for text in shown)


def test_a_single_value_is_a_dot():
    axes = plot_curves({"KL": {"val": MetricCurve(STEPS[:1], STEPS[:1])}}).axes[0]
    assert axes.lines[0].get_marker() == "o"
