"""Importance-weighted bounds for z ~ N(0, 1), x | z ~ N(z, 1/4) at x = 1.5 (known log p(x))."""

import itertools

import pytest
import torch

from vaelab.notes.gap import PROPOSALS, importance_bounds, toy_log_evidence, toy_log_weights


def test_toy_log_evidence_is_exact():
    assert toy_log_evidence() == pytest.approx(-1.9305103088617774, abs=1e-15)


def test_exact_posterior_has_constant_weights():
    log_w = toy_log_weights(*PROPOSALS["the posterior"], 1000)
    torch.testing.assert_close(log_w, torch.full_like(log_w, toy_log_evidence()), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("name", "count", "value"),
    [
        ("N(1, 0.3)", 1, -2.077778),
        ("N(1, 0.3)", 5, -1.9494),
        ("N(1, 0.3)", 50, -1.9323),
        ("p(z)", 1, -6.725791),
        ("p(z)", 5, -2.453),
        ("p(z)", 50, -1.9590),
        ("p(z)", 500, -1.9334),
    ],
)
def test_bounds_of_other_proposals_match_exact_values(name, count, value):
    log_w = toy_log_weights(*PROPOSALS[name], 200_000)
    groups = log_w[:, 0].unflatten(0, (-1, count)).logsumexp(1) - torch.tensor(count).log()
    error = groups.std().item() / len(groups) ** 0.5
    assert importance_bounds(log_w, [count])[count] == pytest.approx(value, abs=4 * error + 5e-4)


def test_bounds_increase_with_the_number_of_samples():
    log_w = 5 * torch.randn(64, 3).double()
    values = list(importance_bounds(log_w, [1, 2, 4, 8, 16, 64]).values())
    assert all(low <= high for low, high in itertools.pairwise(values))
