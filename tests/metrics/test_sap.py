import pytest
import torch
from factors import (
    FACTORS,
    IDEAL,
    append_noise,
    make_independent_latents,
    make_noisy_bit,
    permute_and_flip,
    rotate_last_dimensions,
)

from vaelab.metrics.sap import sap

UNORDERED = {0}


def test_sap_is_1_for_linear_latents():
    assert sap(IDEAL, FACTORS, UNORDERED) == pytest.approx(1, abs=1e-12)
    assert sap(7 - 3 * IDEAL, FACTORS) == pytest.approx(1, abs=1e-12)


def test_noise_and_constant_dimensions_change_sap_little():
    assert sap(append_noise(IDEAL), FACTORS, UNORDERED) == pytest.approx(1, abs=0.03)
    constant = torch.cat([IDEAL, torch.full((len(IDEAL), 2), 5.0)], 1)
    assert sap(constant, FACTORS, UNORDERED) == pytest.approx(1, abs=1e-12)


def test_only_unordered_factors_allow_nonlinear_latents():
    assert sap(IDEAL[:, :1].exp(), FACTORS[:, :1], UNORDERED) == pytest.approx(1, abs=1e-12)
    assert sap(IDEAL[:, :1].exp(), FACTORS[:, :1]) < 0.98


def test_sap_of_independent_latents_is_at_its_minimum():
    for _ in range(3):
        assert 0 <= sap(make_independent_latents(), FACTORS, UNORDERED) < 0.02


def test_duplicate_dimensions_give_0():
    assert sap(torch.cat([IDEAL, -IDEAL], 1), FACTORS, UNORDERED) == pytest.approx(0, abs=1e-12)


def test_sap_of_a_noisy_bit_matches_the_closed_form():
    v, latents = make_noisy_bit()
    assert sap(latents, v) == pytest.approx(0.25)
    assert sap(latents, v, {0}) == pytest.approx(2 * 0.75 - 1)
    assert sap(latents[:, :1], v, {0}) == pytest.approx(0.5)


def test_sap_is_invariant_to_order_and_sign_of_dimensions():
    latents = append_noise(rotate_last_dimensions(IDEAL))
    permuted = sap(permute_and_flip(latents), FACTORS, UNORDERED)
    assert permuted == pytest.approx(sap(latents, FACTORS, UNORDERED), abs=1e-12)


def test_rotation_lowers_sap():
    assert sap(rotate_last_dimensions(IDEAL), FACTORS, UNORDERED) == pytest.approx(3 / 5, abs=1e-12)


def test_accuracy_is_balanced_over_values():
    v = torch.tensor([0] * 90 + [1] * 10)
    z = torch.tensor([0.0] * 75 + [1.0] * 25)
    assert sap(z[:, None], v[:, None], {0}) == pytest.approx(75 / 90)
