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

from vaelab.metrics.dci import dci, disentanglement

UNORDERED = {0}


def compute_dci(latents, new=None):
    return dci(latents, FACTORS, latents if new is None else new, FACTORS, UNORDERED)


def test_disentanglement_is_1_for_one_to_one_and_0_for_equal_importances():
    assert disentanglement(torch.eye(4)[torch.randperm(4)]) == 1
    assert disentanglement(torch.ones(3, 5)) == pytest.approx(0, abs=1e-6)
    assert disentanglement(torch.tensor([[2.0], [1.0]])) == 1  # there is only one factor


def test_rows_are_weighted_by_importance():
    importances = torch.tensor([[1.0, 1.0], [0.0, 2.0], [0.0, 0.0]]).double()
    assert disentanglement(importances) == pytest.approx(0.5)
    two_of_three = (math.log(3) - 2 / 3 * math.log(2)) / math.log(3)
    assert disentanglement(importances.T) == pytest.approx(1 / 4 + 3 / 4 * (1 - two_of_three))


@pytest.mark.parametrize("latents", [IDEAL, IDEAL**3, append_noise(IDEAL)])
def test_scores_are_1_for_monotone_latents_with_and_without_noise(latents):
    assert compute_dci(latents) == pytest.approx((1, 1, 1), abs=1e-9)


def test_scores_of_independent_latents_are_at_their_minimum():
    scores = compute_dci(make_independent_latents(), make_independent_latents())
    assert scores.disentanglement < 0.02
    assert scores.completeness < 0.02
    assert scores.informativeness == pytest.approx(1 / 3 / 5, abs=0.015)


def test_scores_are_reproducible_and_nearly_invariant_to_order_and_sign():
    latents = append_noise(rotate_last_dimensions(IDEAL))
    scores = compute_dci(latents)
    assert compute_dci(latents) == scores
    assert compute_dci(permute_and_flip(latents)) == pytest.approx(scores, abs=0.02)


def test_rotation_lowers_disentanglement_but_not_informativeness():
    scores = compute_dci(rotate_last_dimensions(IDEAL))
    assert scores.disentanglement < 0.85
    assert scores.completeness < 0.85
    assert scores.informativeness > 0.97


def test_factor_in_two_dimensions_is_disentangled_but_not_complete():
    low = FACTORS[:, -1] < 2
    latents = torch.stack([IDEAL[:, -2], low * IDEAL[:, -1], ~low * IDEAL[:, -1]], 1)
    scores = dci(latents, FACTORS[:, -2:], latents, FACTORS[:, -2:])
    assert scores.completeness < 0.9
    assert scores.disentanglement == pytest.approx(1, abs=1e-9)
