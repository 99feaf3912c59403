import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vaelab.notes.kl_field import (
    TOY_VARIANCE,
    decompose_kl,
    elbo_gradient,
    exact_posterior,
    negative_kl_gradient,
)
from vaelab.notes.latent_moments import PosteriorSnapshot

POINTS = torch.randn(2, 50, dtype=torch.float64)


def test_negative_kl_gradient_matches_autograd():
    mean, log_sd = (values.clone().requires_grad_() for values in POINTS)
    zero = torch.zeros((), dtype=torch.float64)
    kl_divergence(Normal(mean, log_sd.exp()), Normal(zero, zero + 1)).sum().backward()
    torch.testing.assert_close(
        torch.stack(negative_kl_gradient(*POINTS)), -torch.stack([mean.grad, log_sd.grad])
    )


def test_elbo_gradient_vanishes_at_the_exact_posterior():
    mean, sd = exact_posterior(1.5)
    assert (mean, sd**2) == pytest.approx((1.2, 0.2))
    optimum = torch.tensor([mean, math.log(sd)], dtype=torch.float64)
    torch.testing.assert_close(torch.stack(elbo_gradient(*optimum, 1.5)), torch.zeros(2).double())


def test_mean_of_all_posteriors_has_the_variance_of_the_prior():
    """Check Var z = E Var(z|x) + Var E(z|x) for x ~ N(0, 1 + TOY_VARIANCE)."""
    _, sd = exact_posterior(0.0)
    slope, _ = exact_posterior(1.0)
    assert sd**2 + slope**2 * (1 + TOY_VARIANCE) == pytest.approx(1)


def make_snapshot(mean, sd):
    return PosteriorSnapshot(0, 1.0, np.float32(mean), np.float32(sd))


def test_posteriors_equal_to_the_prior_have_zero_kl():
    decomposition = decompose_kl(make_snapshot(np.zeros((100, 3)), np.ones((100, 3))))
    assert decomposition == pytest.approx((0, 0), abs=1e-5)


def test_disjoint_posteriors_have_maximal_mutual_information():
    """I(x; z) is ln N if no two of N posteriors overlap."""
    mean, sd = np.arange(64.0)[:, None] / 2 - 16, np.full((64, 1), 0.02)
    mean_kl, marginal_kl = decompose_kl(make_snapshot(mean, sd))
    assert mean_kl - marginal_kl == pytest.approx(math.log(64), rel=0.01)


def test_aggregate_posterior_is_closer_to_the_prior_than_each_posterior():
    mean = np.random.default_rng(0).normal(size=(2000, 2)) * math.sqrt(1 - 0.2**2)
    decomposition = decompose_kl(make_snapshot(mean, np.full((2000, 2), 0.2)))
    assert 0 < decomposition.marginal_kl < 0.1 < 2 < decomposition.mean_kl
