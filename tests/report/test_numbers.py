import pytest

from vaelab.report.numbers import (
    format_duration,
    format_number,
    format_setting,
    format_with_error,
    make_metric_rows,
)

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
    (row,) = make_metric_rows({"my_own": 3})
    assert (row.title, row.value) == ("my own", "3")


def test_active_units_show_the_number_of_dimensions():
    (row,) = make_metric_rows({"active_units": 7}, latent_dim=20)
    assert (row.value, row.unit) == ("7", "of 20 dimensions")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.21, "3.2 s"), (125.0, "2 min 5 s"), (7300.0, "2 h 1 min"), (None, "?")],
)
def test_format_duration(seconds, words):
    assert format_duration(seconds) == words


def test_format_setting_shortens_long_lists():
    assert format_setting(list(range(20))) == "[0, 1, 2, 3, 4, 5, 6, 7, ...]"
    assert format_setting({"a": 1}) == "{'a': 1}"
