import math

import pytest
import torch
from factors import FACTORS, IDEAL, beside, flipped, knowing_nothing, mirrored, turned

from vaelab.metrics.mig import mig


@pytest.mark.parametrize("code", [IDEAL, IDEAL**3, -IDEAL.exp(), 1e-6 * IDEAL])
def test_it_is_1_on_any_monotone_code_of_each_factor(code):
    assert mig(code, FACTORS) == pytest.approx(1, abs=1e-12)


def test_noise_beside_costs_only_what_a_table_of_counts_finds_in_it():
    bias = 19 * 4 / 2 / len(FACTORS) / math.log(5)  # nats of 20 bins and 5 values, over an entropy
    assert 1 - 2 * bias < mig(beside(IDEAL), FACTORS) < 1


def test_on_codes_that_know_nothing_it_is_at_its_floor():
    for _ in range(5):
        assert 0 <= mig(knowing_nothing(), FACTORS) < 0.02


def test_two_dimensions_that_say_the_same_leave_no_gap():
    assert mig(torch.cat([IDEAL, IDEAL], 1), FACTORS) == 0


def test_a_bit_that_is_wrong_in_a_quarter_of_all_cases_has_its_textbook_information():
    v, codes = flipped()
    entropy = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert mig(codes, v) == pytest.approx(1 - entropy, abs=1e-12)
    assert mig(codes[:, :1], v) == pytest.approx(1 - entropy, abs=1e-12)


def test_order_and_sign_of_dimensions_do_not_count():
    code = beside(turned(IDEAL))
    assert mig(mirrored(code), FACTORS) == pytest.approx(mig(code, FACTORS), abs=1e-12)


def test_it_is_lower_on_a_turned_code():
    assert mig(turned(IDEAL), FACTORS) == pytest.approx(3 / 5, abs=0.01)
    rotation = torch.linalg.qr(torch.randn(5, 5).double())[0]
    assert mig(IDEAL @ rotation, FACTORS) < 0.5
