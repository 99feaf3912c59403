"""The Bernoulli distribution of vaelab is torch's, and takes grey values."""

import math

import torch
from torch.distributions import Bernoulli as Torchs
from torch.distributions import Independent

from vaelab.distributions.bernoulli import IndependentBernoulli

LOGITS = 3 * torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0)).double()


def test_its_probabilities_and_moments_are_those_of_torch():
    ours, torchs = IndependentBernoulli(LOGITS, 2), Independent(Torchs(logits=LOGITS), 2)
    assert (ours.batch_shape, ours.event_shape) == (torchs.batch_shape, torchs.event_shape)
    x = torchs.sample((7,))
    torch.testing.assert_close(ours.log_prob(x), torchs.log_prob(x))
    torch.testing.assert_close(ours.log_prob(x[0, 0]), torchs.log_prob(x[0, 0]))
    torch.testing.assert_close(ours.mean, torchs.mean)
    torch.testing.assert_close(ours.variance, torchs.variance)


def test_a_grey_value_is_a_mixture_of_both_terms():
    one, zero = (
        IndependentBernoulli(LOGITS, 1).log_prob(torch.full_like(LOGITS, bit)) for bit in (1, 0)
    )
    grey = IndependentBernoulli(LOGITS, 1).log_prob(torch.full_like(LOGITS, 0.3))
    torch.testing.assert_close(grey, 0.3 * one + 0.7 * zero)


def test_its_samples_are_bits_with_its_mean():
    bits = IndependentBernoulli(LOGITS, 2).sample((20_000,))
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    error = 4.5 * IndependentBernoulli(LOGITS, 2).variance.sqrt() / math.sqrt(20_000)
    assert ((bits.mean(0) - LOGITS.sigmoid()).abs() < error + 1e-3).all()


def test_extreme_logits_give_finite_values_and_gradients():
    logits = torch.tensor([-1e30, 1e30, 0.0], requires_grad=True)
    IndependentBernoulli(logits).log_prob(torch.tensor([0.0, 1.0, 1.0])).backward()
    assert torch.isfinite(logits.grad).all()
