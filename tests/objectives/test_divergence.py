"""Test closed forms and estimates of KL(q || p)."""

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from vaelab.objectives.base import closed_form_kl, sample_with_kl, sample_with_log_prob


def normal(mean, variance):
    mean, variance = torch.tensor([mean]).double(), torch.tensor([variance]).double()
    return Independent(Normal(mean, variance.sqrt()), 1)


Q = normal([0.5, -1.0], [0.25, 2.0])


@pytest.mark.parametrize(
    ("p", "kl"),
    [
        (normal([0.0, 0.0], [1.0, 1.0]), 1.0965735902799727),
        (normal([1.0, 0.5], [4.0, 0.5]), 4.005647180559945),
    ],
)
def test_closed_form_kl_is_exact_for_each_dimension(p, kl):
    exact = closed_form_kl(Q, p)
    assert exact.shape == (1, 2)
    assert exact.sum().item() == pytest.approx(kl, abs=1e-14)


FULL = MultivariateNormal(
    torch.tensor([[1.0, -0.5]], dtype=torch.float64),
    torch.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=torch.float64),
)
FULL_KL = 0.8776518790819464


def test_closed_form_kl_has_one_column_if_only_the_total_is_known():
    p = MultivariateNormal(torch.zeros(1, 2).double(), torch.eye(2).double())
    exact = closed_form_kl(FULL, p)
    assert exact.shape == (1, 1)
    assert exact.item() == pytest.approx(FULL_KL, abs=1e-14)


def test_mean_of_estimated_kl_is_the_closed_form():
    q = FULL.expand((20_000,))
    _, estimate = sample_with_kl(q, normal([0.0, 0.0], [1.0, 1.0]))
    assert estimate.shape == (20_000, 1)
    error = estimate.std().item() / math.sqrt(20_000)
    assert estimate.mean().item() == pytest.approx(FULL_KL, abs=4 * error)


def test_kl_to_a_mixture_is_estimated():
    parts = Independent(Normal(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double(), 1.0), 1)
    p = MixtureSameFamily(Categorical(torch.ones(2).double()), parts)
    assert closed_form_kl(Q, p) is None
    z, kl = sample_with_kl(Q, p)
    torch.testing.assert_close(kl[..., 0], Q.log_prob(z) - p.log_prob(z))


def test_sample_with_log_prob_is_reparameterised():
    mean = torch.zeros(4, 2, requires_grad=True)
    q = Independent(Normal(mean, 1.0), 1)
    z, log_q = sample_with_log_prob(q, 5)
    assert (z.shape, log_q.shape) == ((5, 4, 2), (5, 4))
    z.sum().backward()
    torch.testing.assert_close(mean.grad, torch.full((4, 2), 5.0))
    assert sample_with_log_prob(q)[0].shape == (4, 2)
