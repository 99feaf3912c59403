import math

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

from vaelab.metrics.mig import mig


@pytest.mark.parametrize("latents", [IDEAL, IDEAL**3, -IDEAL.exp(), 1e-6 * IDEAL])
def test_mig_is_1_for_monotone_latents(latents):
    assert mig(latents, FACTORS) == pytest.approx(1, abs=1e-12)


def test_noise_dimensions_lower_mig_by_the_bias_of_the_estimate_only():
    bias = 19 * 4 / 2 / len(FACTORS) / math.log(5)  # 20 bins and 5 values, relative to H(v)
    assert 1 - 2 * bias < mig(append_noise(IDEAL), FACTORS) < 1


def test_mig_of_independent_latents_is_at_its_minimum():
    for _ in range(5):
        assert 0 <= mig(make_independent_latents(), FACTORS) < 0.02


def test_duplicate_dimensions_give_0():
    assert mig(torch.cat([IDEAL, IDEAL], 1), FACTORS) == 0


def test_mig_of_a_noisy_bit_matches_the_channel_capacity():
    v, latents = make_noisy_bit()
    entropy = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert mig(latents, v) == pytest.approx(1 - entropy, abs=1e-12)
    assert mig(latents[:, :1], v) == pytest.approx(1 - entropy, abs=1e-12)


def test_mig_is_invariant_to_order_and_sign_of_dimensions():
    latents = append_noise(rotate_last_dimensions(IDEAL))
    permuted = mig(permute_and_flip(latents), FACTORS)
    assert permuted == pytest.approx(mig(latents, FACTORS), abs=1e-12)


def test_rotation_lowers_mig():
    assert mig(rotate_last_dimensions(IDEAL), FACTORS) == pytest.approx(3 / 5, abs=0.01)
    rotation = torch.linalg.qr(torch.randn(5, 5).double())[0]
    assert mig(IDEAL @ rotation, FACTORS) < 0.5
