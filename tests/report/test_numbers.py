import pytest

from vaelab.report.numbers import (
    duration,
    format_number,
    format_short,
    number_lines,
    warnings,
    with_error,
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
        (None, "not finite"),
        (True, "true"),
        ("adam", "adam"),
        ([1, 28, 28], "[1, 28, 28]"),
        (1e-7, "1e-07"),
    ],
)
def test_numbers_are_told_with_the_digits_that_are_read(value, words):
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
def test_a_mean_has_the_places_of_its_error(value, error, words):
    assert with_error(value, error) == words


def test_a_number_without_a_title_is_shown_as_it_is_called():
    (line,) = number_lines({"my_own": 3})
    assert (line.title, line.value) == ("my own", "3")


def test_units_say_of_how_many_dimensions_some_are_active():
    (line,) = number_lines({"active_units": 7}, latent_dim=20)
    assert (line.value, line.unit) == ("7", "of 20 dimensions")


def test_a_density_at_the_floor_of_its_scale_is_warned_of():
    numbers = {"decoder_scale": 1 / 256, "pixels": "levels", "measure": "density"}
    assert "floor of one level" in warnings(numbers)[0]
    assert not warnings(numbers | {"pixels": "dequantized"})
    assert not warnings(numbers | {"measure": "probability"})
    assert not warnings(numbers | {"decoder_scale": 0.1})


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.21, "3.2 s"), (125.0, "2 min 5 s"), (7300.0, "2 h 1 min"), (None, "?")],
)
def test_durations_are_told_in_words(seconds, words):
    assert duration(seconds) == words


def test_long_lists_are_cut():
    assert format_short(list(range(20))) == "[0, 1, 2, 3, 4, 5, 6, 7, ...]"
    assert format_short({"a": 1}) == "{'a': 1}"
