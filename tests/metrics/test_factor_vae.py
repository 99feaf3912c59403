import math

import pytest
import torch
from factors import FACTORS, IDEAL, beside, knowing_nothing, mirrored, turned

from vaelab.metrics.factor_vae import _alike, factor_vae

K = FACTORS.shape[1]
ERROR = math.sqrt(0.25 / 1000)  # of a share of 1000 votes, at most


@pytest.mark.parametrize("code", [IDEAL, IDEAL**3, beside(IDEAL), torch.cat([IDEAL, IDEAL], 1)])
def test_it_is_1_where_each_factor_has_dimensions_of_its_own(code):
    assert factor_vae(code, FACTORS) == 1


def test_on_codes_that_know_nothing_it_is_at_its_floor():
    for _ in range(3):
        assert factor_vae(knowing_nothing(), FACTORS) == pytest.approx(1 / K, abs=4 * ERROR)
    assert factor_vae(torch.ones(len(FACTORS), 4), FACTORS) == 1 / K


def test_constant_dimensions_are_left_out():
    constant = torch.cat([torch.full((len(IDEAL), 2), 5.0), IDEAL], 1)
    assert factor_vae(constant, FACTORS) == 1


def test_two_factors_that_two_dimensions_share_are_not_told_apart():
    assert factor_vae(turned(IDEAL), FACTORS) == pytest.approx((3 + 2 / 2) / K, abs=4 * ERROR)


def test_order_and_sign_of_dimensions_do_not_count():
    code = beside(IDEAL @ torch.randn(5, 5).double())
    one, other = (
        factor_vae(each, FACTORS, generator=torch.Generator().manual_seed(0))
        for each in (code, mirrored(code))
    )
    assert one == other < 1


def test_images_of_a_vote_share_a_value_and_all_values_and_images_come_up():
    for v in FACTORS.T[1:3]:
        index = _alike(v, 400, 50, None)
        assert (v[index] == v[index[:, :1]]).all()
        assert len(v[index[:, 0]].unique()) == 4
        assert len(index.unique()) == len(FACTORS)
