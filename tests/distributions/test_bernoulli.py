"""IndependentBernoulli agrees with torch and accepts values between 0 and 1."""

import math

import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Independent

from vaelab.distributions.bernoulli import IndependentBernoulli

LOGITS = 3 * torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0)).double()


def test_log_prob_and_moments_agree_with_torch():
    ours = IndependentBernoulli(LOGITS, 2)
    expected = Independent(TorchBernoulli(logits=LOGITS), 2)
    assert (ours.batch_shape, ours.event_shape) == (expected.batch_shape, expected.event_shape)
    x = expected.sample((7,))
    torch.testing.assert_close(ours.log_prob(x), expected.log_prob(x))
    torch.testing.assert_close(ours.log_prob(x[0, 0]), expected.log_prob(x[0, 0]))
    torch.testing.assert_close(ours.mean, expected.mean)
    torch.testing.assert_close(ours.variance, expected.variance)


def test_log_prob_of_a_value_between_0_and_1_interpolates_linearly():
    p = IndependentBernoulli(LOGITS, 1)
    one, zero, between = (p.log_prob(torch.full_like(LOGITS, value)) for value in (1, 0, 0.3))
    torch.testing.assert_close(between, 0.3 * one + 0.7 * zero)


def test_samples_are_binary_with_the_correct_mean():
    bits = IndependentBernoulli(LOGITS, 2).sample((20_000,))
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    error = 4.5 * IndependentBernoulli(LOGITS, 2).variance.sqrt() / math.sqrt(20_000)
    assert ((bits.mean(0) - LOGITS.sigmoid()).abs() < error + 1e-3).all()


def test_extreme_logits_give_finite_gradients():
    logits = torch.tensor([-1e30, 1e30, 0.0], requires_grad=True)
    IndependentBernoulli(logits).log_prob(torch.tensor([0.0, 1.0, 1.0])).backward()
    assert torch.isfinite(logits.grad).all()
