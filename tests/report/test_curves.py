import math

import pytest

from vaelab.report.axis import around, nice, places
from vaelab.report.curves import POINTS, panels, thinned

TERMS = {"loss": 110.0, "elbo": -110.0, "reconstruction": 85.0, "kl": 25.0, "lr": 0.001}

TIMES = [float(n) for n in range(1, 9)]


def rows(**changes):
    return [
        {"step": float(step)} | {f"val/{key}": value for key, value in (TERMS | changes).items()}
        for step in range(20)
    ]


def titles(found):
    return [panel.title for panel in found]


def test_elbo_reconstruction_and_kl_come_first_and_apart():
    logged = [row | {"val/mmd": row["step"]} for row in rows(loss=1.0)]
    assert titles(panels(logged)) == ["ELBO", "reconstruction", "KL", "mmd"]


def test_what_never_moves_and_what_repeats_the_elbo_is_left_out():
    assert titles(panels(rows())) == ["ELBO", "reconstruction", "KL"]
    moving = [row | {"val/loss": row["step"]} for row in rows()]
    assert titles(panels(moving)) == ["ELBO", "reconstruction", "KL", "loss"]


def test_a_term_that_is_another_with_its_sign_changed_has_no_panel():
    logged = [{"step": n, "val/reconstruction": n, "val/log_p": -n, "val/loss": n} for n in TIMES]
    assert titles(panels(logged)) == ["reconstruction"]


def test_what_was_not_logged_is_absent():
    assert panels([]) == []
    assert titles(panels([{"step": 1.0, "val/reconstruction": 3.0}])) == ["reconstruction"]
    assert panels([{"step": 1.0, "val/elbo": math.nan}]) == []


def test_a_curve_breaks_where_it_is_not_finite():
    values = [1.0, 2.0, math.nan, 3.0, math.inf, 4.0]
    (panel,) = panels([{"step": float(n), "val/elbo": value} for n, value in enumerate(values)])
    (curve,) = panel.curves
    assert curve.d.count("M") == 3
    assert [point[0] for point in curve.points] == [0, 1, 3, 5]
    assert "nan" not in curve.d


def test_every_spike_survives_thinning():
    points = [(float(n), math.sin(n / 500)) for n in range(50_000)]
    points[31_415] = (31_415.0, -99.0)
    points[7] = (7.0, 99.0)
    kept = thinned(points)
    assert len(kept) <= POINTS + 1
    assert {points[7], points[31_415], points[-1]} <= set(kept)
    assert kept == sorted(kept)


def test_training_and_validation_share_one_scale():
    logged = [{"step": 1.0, "train/kl": 10.0}, {"step": 1.0, "val/kl": 20.0}]
    (panel,) = panels(logged)
    train, val = (curve.points[0] for curve in panel.curves)
    assert train[2] == val[2]
    assert train[3] > val[3]  # y grows downwards
    assert train[1] == "10.000"


def test_first_steps_that_would_leave_the_rest_no_room_are_cut_and_said_to_be():
    logged = [{"step": float(n), "val/elbo": -500.0 if n == 0 else n - 200.0} for n in range(100)]
    (panel,) = panels(logged)
    assert panel.cut
    assert not panels(logged[1:])[0].cut


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-744.3, -740.2), (1e-6, 3e-6), (0, 640)])
def test_ticks_are_round_and_lie_where_they_say(low, high):
    axis = around([low, high], 0.0, 1000.0)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7
    for tick in ticks:
        value = float(tick.label.replace("\N{MINUS SIGN}", "-"))
        assert axis.at(value) == pytest.approx(tick.at, abs=0.1)
        assert 0 <= tick.at <= 1000


def test_an_axis_has_room_for_one_value():
    axis = around([3.0, 3.0], 0.0, 100.0)
    assert axis.at(3.0) == 50.0


@pytest.mark.parametrize(("step", "expected"), [(0.9, 1), (1.0, 1), (1.1, 2), (3, 5), (0.06, 0.1)])
def test_a_nice_step_is_the_next_of_1_2_and_5(step, expected):
    assert nice(step) == pytest.approx(expected)


def test_numbers_among_choices_lie_in_their_order():
    at, ticks = places(["10", "2", "null", "2", "1e-3"], 0.0, 300.0)
    assert at == {"1e-3": 0.0, "2": 100.0, "10": 200.0, "null": 300.0}
    assert [tick.label for tick in ticks] == ["1e-3", "2", "10", "null"]


def test_many_numbers_lie_in_proportion_and_wide_ones_by_their_logarithms():
    at, _ = places([str(n) for n in range(11)], 0.0, 100.0)
    assert at["3"] == 30.0
    at, ticks = places([str(10.0**n) for n in range(-5, 6)], 0.0, 100.0)
    assert at["1.0"] == 50.0
    assert len(ticks) == 3
