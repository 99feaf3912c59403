from typing import get_type_hints

import pytest

from vaelab.report.numbers import (
    HIDDEN_KEYS,
    format_duration,
    format_number,
    format_setting,
    format_with_error,
    make_metric_rows,
)
from vaelab.runs.metrics_file import EvaluationNumbers, RunMetrics
from vaelab.runtime.metric_names import METRICS, OTHER_METRICS

MINUS, SPACE = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-110.8, f"{MINUS}110.80"),
        (0.1722396, "0.1722"),
        (0.001, "0.001"),
        (20, "20"),
        (1234567, f"1{SPACE}234{SPACE}567"),
        (None, "non-finite"),
        (True, "true"),
        ("adam", "adam"),
        ([1, 28, 28], "[1, 28, 28]"),
        (1e-7, "1e-07"),
    ],
)
def test_format_number(value, words):
    assert format_number(value) == words


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (104.7512952, 1.15990656, "104.8 ± 1.2"),
        (-0.123456, 0.00099, f"{MINUS}0.12346 ± 0.00099"),
        (1234.5, 123.0, "1234 ± 123"),
        (20.0, 0.0, "20 ± 0"),
        (3.25, None, "3.2500"),
    ],
)
def test_format_with_error_rounds_to_the_error(value, error, words):
    assert format_with_error(value, error) == words


def test_unknown_metrics_are_titled_by_their_key():
    (row,) = make_metric_rows([{"my_own": 3}])
    assert (row.metric.name, row.values) == ("my own", ["3"])


def test_active_units_show_the_number_of_dimensions():
    (row,) = make_metric_rows([{"active_units": 7}], latent_dim=20)
    assert (row.values, row.metric.unit) == (["7"], "of 20 dimensions")


def test_feature_network_stands_beside_the_distance():
    columns = [{"fid": 12.5, "features": "digits", "kid": 0.5, "kid_se": 0.25}, {"fid": 3.0}]
    rows = {row.metric.name: row.values for row in make_metric_rows(columns)}
    assert rows == {
        "FID of samples": ["12.500 (digits)", "3.0000"],
        "KID of samples": ["0.50 ± 0.25 (digits)", ""],
    }


@pytest.mark.parametrize("error", [None, "x", True, [1], float("nan")])
def test_values_without_a_valid_error_are_formatted_alone(error):
    assert format_with_error(104.75, error, 1) in ("104.8", "104.8 ± 1.0")
    assert format_with_error("many", error) == "many"


@pytest.mark.parametrize("key", [*get_type_hints(RunMetrics), *get_type_hints(EvaluationNumbers)])
def test_every_number_has_a_title_or_is_hidden(key):
    rows = make_metric_rows([{key: 1.5}])
    is_error = key.removesuffix("_se") in METRICS or key.removesuffix("_se") in OTHER_METRICS
    assert bool(rows) != (key in HIDDEN_KEYS or (is_error and key.endswith("_se")))
    assert all(row.metric.meaning for row in rows)


def test_values_of_layers_and_of_the_validation_have_titles():
    keys = ("kl_layer_2", "val_elbo", "val_iw_bound", "val_log_p", "val_objective")
    rows = make_metric_rows([dict.fromkeys(keys, 1.0)])
    assert [row.metric.name for row in rows] == [
        "KL of layer 2",
        "validation ELBO",
        "validation importance-weighted bound",
        "validation log p(x|z)",
        "validation objective",
    ]
    assert rows[1].metric.arrow == "\N{UPWARDS ARROW}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.21, "3.2 s"), (125.0, "2 min 5 s"), (7300.0, "2 h 1 min"), (None, "?")],
)
def test_format_duration(seconds, words):
    assert format_duration(seconds) == words


def test_format_setting_shortens_long_lists():
    assert format_setting(list(range(20))) == "[0, 1, 2, 3, 4, 5, 6, 7, ...]"
    assert format_setting({"a": 1}) == "{'a': 1}"
