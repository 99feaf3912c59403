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
def test_the_closed_form_is_exact_and_by_dimension(p, kl):
    found = closed_form_kl(Q, p)
    assert found.shape == (1, 2)
    assert found.sum().item() == pytest.approx(kl, abs=1e-14)


FULL = MultivariateNormal(
    torch.tensor([[1.0, -0.5]], dtype=torch.float64),
    torch.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=torch.float64),
)
FULL_KL = 0.8776518790819464


def test_where_only_the_total_is_known_it_is_one_column():
    p = MultivariateNormal(torch.zeros(1, 2).double(), torch.eye(2).double())
    found = closed_form_kl(FULL, p)
    assert found.shape == (1, 1)
    assert found.item() == pytest.approx(FULL_KL, abs=1e-14)


def test_without_a_closed_form_the_estimate_agrees_in_the_mean():
    many = FULL.expand((20_000,))
    _, found = sample_with_kl(many, normal([0.0, 0.0], [1.0, 1.0]))
    assert found.shape == (20_000, 1)
    error = found.std().item() / math.sqrt(20_000)
    assert found.mean().item() == pytest.approx(FULL_KL, abs=4 * error)


def test_a_mixture_prior_falls_back_to_the_estimate():
    parts = Independent(Normal(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double(), 1.0), 1)
    p = MixtureSameFamily(Categorical(torch.ones(2).double()), parts)
    assert closed_form_kl(Q, p) is None
    z, kl = sample_with_kl(Q, p)
    torch.testing.assert_close(kl[..., 0], Q.log_prob(z) - p.log_prob(z))


def test_draw_gives_reparameterised_samples_and_their_log_q():
    mean = torch.zeros(4, 2, requires_grad=True)
    q = Independent(Normal(mean, 1.0), 1)
    z, log_q = sample_with_log_prob(q, 5)
    assert (z.shape, log_q.shape) == ((5, 4, 2), (5, 4))
    z.sum().backward()
    torch.testing.assert_close(mean.grad, torch.full((4, 2), 5.0))
    assert sample_with_log_prob(q)[0].shape == (4, 2)
