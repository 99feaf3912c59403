import pytest
import torch
from factors import FACTORS, IDEAL, beside, flipped, knowing_nothing, mirrored, turned

from vaelab.metrics.sap import sap

SHAPE = {0}


def test_it_is_1_on_a_linear_code_of_each_factor():
    assert sap(IDEAL, FACTORS, SHAPE) == pytest.approx(1, abs=1e-12)
    assert sap(7 - 3 * IDEAL, FACTORS) == pytest.approx(1, abs=1e-12)


def test_noise_and_constants_beside_change_little():
    assert sap(beside(IDEAL), FACTORS, SHAPE) == pytest.approx(1, abs=0.03)
    constant = torch.cat([IDEAL, torch.full((len(IDEAL), 2), 5.0)], 1)
    assert sap(constant, FACTORS, SHAPE) == pytest.approx(1, abs=1e-12)


def test_only_a_factor_without_order_may_bend_its_code():
    assert sap(IDEAL[:, :1].exp(), FACTORS[:, :1], SHAPE) == pytest.approx(1, abs=1e-12)
    assert sap(IDEAL[:, :1].exp(), FACTORS[:, :1]) < 0.98


def test_on_codes_that_know_nothing_it_is_at_its_floor():
    for _ in range(3):
        assert 0 <= sap(knowing_nothing(), FACTORS, SHAPE) < 0.02


def test_two_dimensions_that_say_the_same_leave_no_gap():
    assert sap(torch.cat([IDEAL, -IDEAL], 1), FACTORS, SHAPE) == pytest.approx(0, abs=1e-12)


def test_a_bit_that_is_wrong_in_a_quarter_of_all_cases_correlates_by_a_half():
    v, codes = flipped()
    assert sap(codes, v) == pytest.approx(0.25)
    assert sap(codes, v, {0}) == pytest.approx(2 * 0.75 - 1)
    assert sap(codes[:, :1], v, {0}) == pytest.approx(0.5)


def test_order_and_sign_of_dimensions_do_not_count():
    code = beside(turned(IDEAL))
    again = sap(mirrored(code), FACTORS, SHAPE)
    assert again == pytest.approx(sap(code, FACTORS, SHAPE), abs=1e-12)


def test_it_is_lower_on_a_turned_code():
    assert sap(turned(IDEAL), FACTORS, SHAPE) == pytest.approx(3 / 5, abs=1e-12)


def test_a_rare_value_counts_as_much_as_a_common_one():
    v = torch.tensor([0] * 90 + [1] * 10)
    z = torch.tensor([0.0] * 75 + [1.0] * 25)
    assert sap(z[:, None], v[:, None], {0}) == pytest.approx(75 / 90)
