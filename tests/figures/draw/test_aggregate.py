import math

import numpy as np
import pytest
from scipy.integrate import trapezoid

from vaelab.figures.draw.aggregate import (
    AggregatePlane,
    FrequencyPanel,
    MarginalPanel,
    _compute_contour_levels,
    _compute_perplexity,
    plot_aggregate,
    plot_aggregate_plane,
    plot_code_usage,
)

AXIS = np.linspace(-5, 5, 201)
SAMPLES = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
NORMAL = np.exp(-0.5 * (AXIS[:, None] ** 2 + AXIS**2)) / (2 * math.pi)


def test_contours_enclose_their_probability_mass():
    # N(0, I) in two dimensions has the mass 1 - 2 pi h where its density is above h
    exact = [(1 - mass) / (2 * math.pi) for mass in (0.95, 0.68, 0.3)]
    assert _compute_contour_levels(NORMAL, (0.95, 0.68, 0.3)) == pytest.approx(exact, rel=0.02)


def test_perplexity_is_the_number_of_equally_frequent_codes():
    assert _compute_perplexity(np.full(7, 1 / 7)) == pytest.approx(7)
    assert _compute_perplexity(np.array([0.5, 0, 0.5, 0])) == pytest.approx(2)


def test_histogram_and_density_have_the_same_area():
    density = np.exp(-0.5 * AXIS**2) / math.sqrt(2 * math.pi)
    axes = plot_aggregate([MarginalPanel("z", SAMPLES[:, 0], SAMPLES[:, 1], AXIS, density)]).axes[0]
    area = sum(bar.get_width() * bar.get_height() for bar in axes.patches)
    assert area == pytest.approx(1)
    assert trapezoid(axes.lines[0].get_ydata(), AXIS) == pytest.approx(1, abs=1e-5)


def get_legend_labels(figure):
    return [text.get_text() for text in figure.legends[0].texts]


def test_panel_without_density_shows_prior_samples():
    figure = plot_aggregate([MarginalPanel("z", SAMPLES[:, 0], SAMPLES[:, 1], AXIS)])
    assert get_legend_labels(figure) == ["q(z), samples", "p(z), samples"]
    assert not figure.axes[0].lines


def test_aggregate_mixes_histograms_and_bars():
    frequencies = FrequencyPanel("c", np.array([0.25, 0.75]), np.array([0.5, 0.5]))
    figure = plot_aggregate([frequencies, *[MarginalPanel("z", *SAMPLES.T, AXIS, AXIS)] * 5])
    assert [axes.get_title() for axes in figure.axes] == ["c", *"zzzzz"]
    assert get_legend_labels(figure) == ["q(z), samples", "p(z)"]


def test_code_usage_is_sorted_by_frequency():
    axes = plot_code_usage(FrequencyPanel("", np.array([0.1, 0.0, 0.9]), np.full(3, 1 / 3))).axes[0]
    q, p = (patch.get_data().values for patch in axes.patches)
    assert q.tolist() == [0.9, 0.1, 0]
    assert p == pytest.approx(1 / 3)
    low, high = axes.get_ylim()
    assert 0 < low < 0.1 < 0.9 < high


def test_plane_shows_samples_at_their_coordinates():
    samples = np.full((50, 2), (2.0, -3.0))  # z_1 and z_2
    axes = plot_aggregate_plane(AggregatePlane(samples, AXIS, NORMAL)).axes[0]
    mesh = axes.collections[0]
    row, column = np.unravel_index(mesh.get_array().argmax(), mesh.get_array().shape)
    x, y = mesh.get_coordinates()[row, column]
    assert x <= 2 <= x + 0.5
    assert y <= -3 <= y + 0.5
