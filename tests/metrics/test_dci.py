import math

import pytest
import torch
from factors import FACTORS, IDEAL, beside, knowing_nothing, mirrored, turned

from vaelab.metrics.dci import dci, disentanglement

SHAPE = {0}


def found(code, new=None):
    return dci(code, FACTORS, code if new is None else new, FACTORS, SHAPE)


def test_importances_of_one_dimension_for_each_factor_are_worth_1_and_equal_ones_0():
    assert disentanglement(torch.eye(4)[torch.randperm(4)]) == 1
    assert disentanglement(torch.ones(3, 5)) == pytest.approx(0, abs=1e-6)
    assert disentanglement(torch.tensor([[2.0], [1.0]])) == 1  # there is but one factor


def test_rows_count_by_their_importance():
    importances = torch.tensor([[1.0, 1.0], [0.0, 2.0], [0.0, 0.0]]).double()
    assert disentanglement(importances) == pytest.approx(0.5)
    two_of_three = (math.log(3) - 2 / 3 * math.log(2)) / math.log(3)
    assert disentanglement(importances.T) == pytest.approx(1 / 4 + 3 / 4 * (1 - two_of_three))


@pytest.mark.parametrize("code", [IDEAL, IDEAL**3, beside(IDEAL)])
def test_it_is_1_on_any_monotone_code_of_each_factor_also_with_noise_beside(code):
    assert found(code) == pytest.approx((1, 1, 1), abs=1e-9)


def test_on_codes_that_know_nothing_it_is_at_its_floor():
    numbers = found(knowing_nothing(), knowing_nothing())
    assert numbers.disentanglement < 0.02
    assert numbers.completeness < 0.02
    assert numbers.informativeness == pytest.approx(1 / 3 / 5, abs=0.015)


def test_order_and_sign_of_dimensions_hardly_count_and_the_seed_repeats_the_forests():
    code = beside(turned(IDEAL))
    numbers = found(code)
    assert found(code) == numbers
    assert found(mirrored(code)) == pytest.approx(numbers, abs=0.02)


def test_it_is_lower_on_a_turned_code_though_that_is_as_informative():
    numbers = found(turned(IDEAL))
    assert numbers.disentanglement < 0.85
    assert numbers.completeness < 0.85
    assert numbers.informativeness > 0.97


def test_a_factor_in_two_dimensions_is_disentangled_but_not_complete():
    low = FACTORS[:, -1] < 2
    codes = torch.stack([IDEAL[:, -2], low * IDEAL[:, -1], ~low * IDEAL[:, -1]], 1)
    numbers = dci(codes, FACTORS[:, -2:], codes, FACTORS[:, -2:])
    assert numbers.completeness < 0.9
    assert numbers.disentanglement == pytest.approx(1, abs=1e-9)
