import json
import math

import pytest

from vaelab.report.chart_parts import compute_range, list_round_values
from vaelab.report.charts import place_values
from vaelab.report.curves import MAX_POINTS, make_curve_panels, make_kl_chart, thin_points

TERMS = {"loss": 110.0, "elbo": -110.0, "reconstruction": 85.0, "kl": 25.0, "lr": 0.001}

TIMES = [float(n) for n in range(1, 9)]


def make_rows(**changes):
    return [
        {"step": float(step)} | {f"val/{key}": value for key, value in (TERMS | changes).items()}
        for step in range(20)
    ]


def get_titles(panels):
    return [panel.metric.name for panel in panels]


def test_elbo_reconstruction_and_kl_are_the_first_panels():
    logged = [row | {"val/mmd": row["step"]} for row in make_rows(loss=1.0)]
    assert get_titles(make_curve_panels(logged)) == ["ELBO", "reconstruction", "KL", "MMD"]


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


def get_rows(panel, stage="validation"):
    return [row for row in panel.chart["data"]["values"] if row["stage"] == stage]


def test_curves_are_interrupted_at_non_finite_values():
    values = [1.0, 2.0, math.nan, 3.0, math.inf, 4.0]
    (panel,) = make_curve_panels(
        [{"step": float(n), "val/elbo": value} for n, value in enumerate(values)]
    )
    assert [row["value"] for row in get_rows(panel)] == [1.0, 2.0, None, 3.0, None, 4.0]
    assert json.loads(json.dumps(panel.chart, allow_nan=False)) == panel.chart


def test_thinning_keeps_every_spike():
    points = [(float(n), math.sin(n / 500)) for n in range(50_000)]
    points[31_415] = (31_415.0, -99.0)
    points[7] = (7.0, 99.0)
    thinned = thin_points(points)
    assert len(thinned) <= MAX_POINTS + 1
    assert {points[7], points[31_415], points[-1]} <= set(thinned)
    assert thinned == sorted(thinned)


def test_training_and_validation_have_their_colours_and_the_same_scale():
    logged = [{"step": 1.0, "train/kl": 10.0}, {"step": 1.0, "val/kl": 20.0}]
    (panel,) = make_curve_panels(logged)
    place = panel.chart["encoding"]
    assert [get_rows(panel, stage)[0]["value"] for stage in ("training", "validation")] == [10, 20]
    low, high = place["y"]["scale"]["domain"]
    assert low < 10
    assert high > 20
    assert panel.last == {"train": "10.000", "val": "20.000"}
    scale = place["color"]["scale"]
    colours = dict(zip(scale["domain"], scale["range"], strict=True))
    assert colours == {"training": "var(--train)", "validation": "var(--val)"}


def test_first_steps_with_a_much_larger_range_are_cut():
    logged = [{"step": float(n), "val/elbo": -500.0 if n == 0 else n - 200.0} for n in range(100)]
    for rows, words in (
        (logged, "optimizer steps, the first ones outside the frame"),
        (logged[1:], "optimizer steps"),
    ):
        place = make_curve_panels(rows)[0].chart["encoding"]
        assert place["x"]["title"] == words
        assert place["y"]["scale"]["domain"][0] > -300


def test_kl_bars_are_in_descending_order():
    chart = make_kl_chart([3.5, None, 0.25, 21.25])
    assert chart is not None
    bars = [
        (row["rank"], row["dimension"], row["kl"]) for row in chart["layer"][0]["data"]["values"]
    ]
    assert bars == [(1, 3, 21.25), (2, 0, 3.5), (3, 2, 0.25)]
    assert make_kl_chart(None) is None
    assert make_kl_chart([None]) is None


@pytest.mark.parametrize("values", [[1.0, 3.0], [3.0, 3.0], [0.0], [-1e-3, 1e6]])
def test_range_contains_all_values(values):
    low, high = compute_range(values)
    assert low < min(values)
    assert high > max(values)


@pytest.mark.parametrize(
    ("low", "high", "expected", "decimals"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 1),
        (-744.3, -740.2, [-744.0, -743.0, -742.0, -741.0], 0),
        (1e-6, 3e-6, [1e-6, 1.5e-6, 2e-6, 2.5e-6, 3e-6], 7),
        (0, 640, [0, 200, 400, 600], 0),
    ],
)
def test_round_values_have_steps_of_1_2_or_5(low, high, expected, decimals):
    values, found = list_round_values(low, high)
    assert values == pytest.approx(expected)
    assert found == decimals


def test_few_values_are_evenly_spaced_in_ascending_order():
    places = place_values(["10", "2", "null", "2", "1e-3"])
    assert places == {"1e-3": 0.0, "2": 1 / 3, "10": 2 / 3, "null": 1.0}
    assert place_values(["a", "a"]) == {"a": 0.5}


def test_many_numbers_are_placed_linearly_or_logarithmically():
    assert place_values([str(n) for n in range(11)])["3"] == pytest.approx(0.3)
    assert place_values([str(10.0**n) for n in range(-5, 6)])["1.0"] == pytest.approx(0.5)
