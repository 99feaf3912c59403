import math

import pytest

from vaelab.report.axis import choose_round_step, make_axis, place_values
from vaelab.report.curves import MAX_POINTS, make_curve_panels, thin_points

TERMS = {"loss": 110.0, "elbo": -110.0, "reconstruction": 85.0, "kl": 25.0, "lr": 0.001}

TIMES = [float(n) for n in range(1, 9)]


def make_rows(**changes):
    return [
        {"step": float(step)} | {f"val/{key}": value for key, value in (TERMS | changes).items()}
        for step in range(20)
    ]


def get_titles(panels):
    return [panel.title for panel in panels]


def test_elbo_reconstruction_and_kl_are_the_first_panels():
    logged = [row | {"val/mmd": row["step"]} for row in make_rows(loss=1.0)]
    assert get_titles(make_curve_panels(logged)) == ["ELBO", "reconstruction", "KL", "mmd"]


def test_constant_terms_and_repetitions_of_the_elbo_are_left_out():
    assert get_titles(make_curve_panels(make_rows())) == ["ELBO", "reconstruction", "KL"]
    moving = [row | {"val/loss": row["step"]} for row in make_rows()]
    assert get_titles(make_curve_panels(moving)) == ["ELBO", "reconstruction", "KL", "loss"]


def test_terms_that_differ_only_in_sign_share_a_panel():
    logged = [{"step": n, "val/reconstruction": n, "val/log_p": -n, "val/loss": n} for n in TIMES]
    assert get_titles(make_curve_panels(logged)) == ["reconstruction"]


def test_terms_that_were_not_logged_have_no_panel():
    assert make_curve_panels([]) == []
    assert get_titles(make_curve_panels([{"step": 1.0, "val/reconstruction": 3.0}])) == [
        "reconstruction"
    ]
    assert make_curve_panels([{"step": 1.0, "val/elbo": math.nan}]) == []


def test_curves_are_interrupted_at_non_finite_values():
    values = [1.0, 2.0, math.nan, 3.0, math.inf, 4.0]
    (panel,) = make_curve_panels(
        [{"step": float(n), "val/elbo": value} for n, value in enumerate(values)]
    )
    (curve,) = panel.curves
    assert curve.d.count("M") == 3
    assert [point[0] for point in curve.points] == [0, 1, 3, 5]
    assert "nan" not in curve.d


def test_thinning_keeps_every_spike():
    points = [(float(n), math.sin(n / 500)) for n in range(50_000)]
    points[31_415] = (31_415.0, -99.0)
    points[7] = (7.0, 99.0)
    thinned = thin_points(points)
    assert len(thinned) <= MAX_POINTS + 1
    assert {points[7], points[31_415], points[-1]} <= set(thinned)
    assert thinned == sorted(thinned)


def test_training_and_validation_have_the_same_scale():
    logged = [{"step": 1.0, "train/kl": 10.0}, {"step": 1.0, "val/kl": 20.0}]
    (panel,) = make_curve_panels(logged)
    train, val = (curve.points[0] for curve in panel.curves)
    assert train[2] == val[2]
    assert train[3] > val[3]  # y grows downwards
    assert train[1] == "10.000"


def test_first_steps_with_a_much_larger_range_are_cut():
    logged = [{"step": float(n), "val/elbo": -500.0 if n == 0 else n - 200.0} for n in range(100)]
    (panel,) = make_curve_panels(logged)
    assert panel.is_cut
    assert not make_curve_panels(logged[1:])[0].is_cut


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-744.3, -740.2), (1e-6, 3e-6), (0, 640)])
def test_ticks_are_round_and_at_their_values(low, high):
    axis = make_axis([low, high], 0.0, 1000.0)
    ticks = axis.make_ticks()
    assert 2 <= len(ticks) <= 7
    for tick in ticks:
        value = float(tick.label.replace("\N{MINUS SIGN}", "-"))
        assert axis.locate(value) == pytest.approx(tick.position, abs=0.1)
        assert 0 <= tick.position <= 1000


def test_axis_of_a_single_value():
    axis = make_axis([3.0, 3.0], 0.0, 100.0)
    assert axis.locate(3.0) == 50.0


@pytest.mark.parametrize(("step", "expected"), [(0.9, 1), (1.0, 1), (1.1, 2), (3, 5), (0.06, 0.1)])
def test_round_step_is_the_next_of_1_2_and_5(step, expected):
    assert choose_round_step(step) == pytest.approx(expected)


def test_few_values_are_evenly_spaced_in_ascending_order():
    positions, ticks = place_values(["10", "2", "null", "2", "1e-3"], 0.0, 300.0)
    assert positions == {"1e-3": 0.0, "2": 100.0, "10": 200.0, "null": 300.0}
    assert [tick.label for tick in ticks] == ["1e-3", "2", "10", "null"]


def test_many_numbers_are_placed_linearly_or_logarithmically():
    positions, _ = place_values([str(n) for n in range(11)], 0.0, 100.0)
    assert positions["3"] == 30.0
    positions, ticks = place_values([str(10.0**n) for n in range(-5, 6)], 0.0, 100.0)
    assert positions["1.0"] == 50.0
    assert len(ticks) == 3
