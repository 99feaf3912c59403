"""DiagonalNormal agrees with torch."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from vaelab.distributions.normal import DiagonalNormal, StandardNormal

MEAN = torch.randn(5, 2, 3, 4, generator=torch.Generator().manual_seed(0)).double()
LOG_SCALE = 0.3 * MEAN.flip(0)


@pytest.mark.parametrize("log_scale", [LOG_SCALE, LOG_SCALE[0], torch.tensor(0.7).double()])
@pytest.mark.parametrize("dims", [1, 3])
def test_log_prob_and_moments_agree_with_torch(log_scale, dims):
    ours = DiagonalNormal(MEAN, log_scale, dims)
    expected = Independent(Normal(MEAN, log_scale.exp()), dims)
    assert (ours.batch_shape, ours.event_shape) == (expected.batch_shape, expected.event_shape)
    x = MEAN + torch.randn(7, *MEAN.shape).double()
    torch.testing.assert_close(ours.log_prob(x), expected.log_prob(x))
    torch.testing.assert_close(ours.mean, expected.mean)
    torch.testing.assert_close(ours.variance, expected.variance)


def test_kl_agrees_with_torch():
    q, p = DiagonalNormal(MEAN, LOG_SCALE), DiagonalNormal(MEAN.flip(1), LOG_SCALE.flip(2))
    torch_q, torch_p = (Independent(Normal(each.mean, each.stddev), 1) for each in (q, p))
    torch.testing.assert_close(kl_divergence(q, p), kl_divergence(torch_q, torch_p))


def test_kl_from_the_standard_normal_agrees_with_the_general_formula():
    q, zeros = DiagonalNormal(MEAN, LOG_SCALE), torch.zeros(4).double()
    expected = q.elementwise_kl(DiagonalNormal(zeros, zeros))
    torch.testing.assert_close(q.elementwise_kl(StandardNormal(zeros)), expected)


def test_samples_have_the_correct_moments_and_gradients():
    mean = torch.tensor([1.0, -2.0], requires_grad=True)
    log_scale = torch.tensor([0.5, -0.5], requires_grad=True)
    q = DiagonalNormal(mean, log_scale)
    z = q.rsample((100_000,))
    error = 4 * q.stddev / math.sqrt(100_000)
    assert ((z.mean(0) - mean).abs() < error).all()
    assert ((z.std(0) / q.stddev - 1).abs() < 4 / math.sqrt(200_000)).all()
    z.sum().backward()
    torch.testing.assert_close(mean.grad, torch.full((2,), 100_000.0))
    torch.testing.assert_close(log_scale.grad, (z - mean).sum(0), rtol=1e-4, atol=1e-2)
    assert not q.sample().requires_grad
