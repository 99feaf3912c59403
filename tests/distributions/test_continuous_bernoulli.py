import math

import pytest
import torch

from vaelab.distributions.continuous_bernoulli import IndependentContinuousBernoulli

LOGITS = torch.tensor([-16.0, -4.0, -0.6, -0.4, -1e-3, 1e-9, 0.2, 0.5, 0.51, 3.0, 16.0]).double()


def log_normalizer(probability):
    """Compute ln C(probability) from the density at 0, which is C (1 - probability)."""
    logits = torch.logit(torch.tensor([probability]).double())
    log_p = IndependentContinuousBernoulli(logits).log_prob(torch.zeros(1).double())
    return log_p.item() - math.log1p(-probability)


def test_log_normalizer_and_mean_have_known_values():
    assert log_normalizer(0.5) == pytest.approx(math.log(2), abs=1e-12)
    assert log_normalizer(0.25) == pytest.approx(0.787195, abs=1e-6)
    assert log_normalizer(0.1) == pytest.approx(1.010339, abs=1e-6)
    logits = torch.logit(torch.tensor([0.1]).double())
    assert IndependentContinuousBernoulli(logits).mean.item() == pytest.approx(0.3301196, abs=1e-7)


def test_log_prob_and_mean_agree_with_torch_where_torch_does_not_saturate():
    x = torch.rand(50, len(LOGITS)).double()
    expected = torch.distributions.ContinuousBernoulli(logits=LOGITS, lims=(0.49999, 0.50001))
    ours = IndependentContinuousBernoulli(LOGITS)
    torch.testing.assert_close(ours.log_prob(x), expected.log_prob(x).sum(-1), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(ours.mean, expected.mean, rtol=1e-5, atol=1e-6)


def test_float32_saturates_in_torch_but_not_here():
    logits, x = torch.tensor([40.0]), torch.tensor([1.0])
    exact = math.log(40.0)  # the density is l exp(l) / (exp(l) - 1)
    log_p = IndependentContinuousBernoulli(logits).log_prob(x).item()
    assert log_p == pytest.approx(exact, rel=1e-6)
    torch_log_p = torch.distributions.ContinuousBernoulli(logits=logits).log_prob(x).item()
    assert abs(torch_log_p - exact) > 0.5


def test_series_and_closed_form_agree_at_the_boundary():
    boundary = torch.tensor([0.5 - 1e-9, 0.5 + 1e-9]).double()
    for value in (0.0, 0.3, 1.0):
        low, high = IndependentContinuousBernoulli(boundary[:, None]).log_prob(
            torch.tensor([value]).double()
        )
        assert low.item() == pytest.approx(high.item(), abs=2e-9)
    low, high = IndependentContinuousBernoulli(boundary[:, None]).mean.flatten()
    assert low.item() == pytest.approx(high.item(), abs=2e-9)


def test_samples_follow_the_cumulative_distribution_function():
    p = IndependentContinuousBernoulli(LOGITS)
    x = p.sample((40_000,))
    for level in (0.1, 0.5, 0.9):
        expected = torch.expm1(level * LOGITS) / torch.expm1(LOGITS)
        error = (expected * (1 - expected) / 40_000).sqrt()
        assert (((x <= level).double().mean(0) - expected).abs() < 4.5 * error + 1e-9).all()


def test_log_prob_exceeds_bernoulli_by_at_least_ln_2_per_pixel():
    from vaelab.distributions.bernoulli import IndependentBernoulli

    logits, x = 5 * torch.randn(20, 784).double(), torch.rand(20, 784).double()
    bernoulli = IndependentBernoulli(logits).log_prob(x)
    gain = IndependentContinuousBernoulli(logits).log_prob(x) - bernoulli
    assert (gain >= 784 * math.log(2)).all()
    assert 784 * math.log(2) == pytest.approx(543.427, abs=1e-3)
