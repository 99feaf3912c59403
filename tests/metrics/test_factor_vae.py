import math

import pytest
import torch
from factors import (
    FACTORS,
    IDEAL,
    append_noise,
    make_independent_latents,
    permute_and_flip,
    rotate_last_dimensions,
)

from vaelab.metrics.factor_vae import _sample_votes, factor_vae

K = FACTORS.shape[1]
ERROR = math.sqrt(0.25 / 1000)  # the largest standard error of an accuracy over 1000 votes


@pytest.mark.parametrize("latents", [IDEAL, IDEAL**3, append_noise(IDEAL), IDEAL.repeat(1, 2)])
def test_score_is_1_if_each_factor_has_separate_dimensions(latents):
    assert factor_vae(latents, FACTORS) == 1


def test_score_of_independent_latents_is_at_its_minimum():
    for _ in range(3):
        assert factor_vae(make_independent_latents(), FACTORS) == pytest.approx(
            1 / K, abs=4 * ERROR
        )
    assert factor_vae(torch.ones(len(FACTORS), 4), FACTORS) == 1 / K


def test_constant_dimensions_are_left_out():
    constant = torch.cat([torch.full((len(IDEAL), 2), 5.0), IDEAL], 1)
    assert factor_vae(constant, FACTORS) == 1


def test_factors_mixed_in_two_dimensions_are_confused():
    assert factor_vae(rotate_last_dimensions(IDEAL), FACTORS) == pytest.approx(
        (3 + 2 / 2) / K, abs=4 * ERROR
    )


def test_score_is_invariant_to_order_and_sign_of_dimensions():
    latents = append_noise(IDEAL @ torch.randn(5, 5).double())
    first, second = (
        factor_vae(z, FACTORS, generator=torch.Generator().manual_seed(0))
        for z in (latents, permute_and_flip(latents))
    )
    assert first == second < 1


def test_votes_share_a_value_and_cover_all_values_and_images():
    for v in FACTORS.T[1:3]:
        index = _sample_votes(v, 400, 50, None)
        assert (v[index] == v[index[:, :1]]).all()
        assert len(v[index[:, 0]].unique()) == 4
        assert len(index.unique()) == len(FACTORS)


def test_score_is_invariant_to_scale():
    latents, scale = (
        IDEAL + 0.3 * torch.randn_like(IDEAL),
        torch.tensor([1e-3, 1.0, 10.0, 1e4, 0.1]),
    )
    first, second = (
        factor_vae(z, FACTORS, generator=torch.Generator().manual_seed(0))
        for z in (latents, scale * latents)
    )
    assert first == pytest.approx(second, abs=1e-3)
    assert first > 0.9
