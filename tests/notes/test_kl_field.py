import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vaelab.notes.kl_field import VARIANCE, downhill, posterior, rates, uphill
from vaelab.notes.latent_moments import Moment

POINTS = torch.randn(2, 50, dtype=torch.float64)


def test_downhill_is_minus_the_gradient_of_the_kl():
    mean, log_sd = (each.clone().requires_grad_() for each in POINTS)
    zero = torch.zeros((), dtype=torch.float64)
    kl_divergence(Normal(mean, log_sd.exp()), Normal(zero, zero + 1)).sum().backward()
    torch.testing.assert_close(
        torch.stack(downhill(*POINTS)), -torch.stack([mean.grad, log_sd.grad])
    )


def test_uphill_ends_at_the_exact_posterior():
    mean, sd = posterior(1.5)
    assert (mean, sd**2) == pytest.approx((1.2, 0.2))
    end = torch.tensor([mean, math.log(sd)], dtype=torch.float64)
    torch.testing.assert_close(torch.stack(uphill(*end, 1.5)), torch.zeros(2).double())


def test_the_posteriors_of_all_x_make_the_prior():
    """Var z = E Var(z|x) + Var E(z|x), of x from N(0, 1 + VARIANCE)."""
    _, sd = posterior(0.0)
    slope, _ = posterior(1.0)
    assert sd**2 + slope**2 * (1 + VARIANCE) == pytest.approx(1)


def moment(mean, sd):
    return Moment(0, 1.0, np.float32(mean), np.float32(sd))


def test_codes_that_are_the_prior_have_no_divergence():
    found = rates(moment(np.zeros((100, 3)), np.ones((100, 3))))
    assert found == pytest.approx((0, 0), abs=1e-5)


def test_codes_that_are_far_apart_tell_which_image_it_is():
    """I(x; z) is ln N where no two q(z|x) meet."""
    found = rates(moment(np.arange(64.0)[:, None] / 2 - 16, np.full((64, 1), 0.02)))
    assert found.mean_kl - found.marginal_kl == pytest.approx(math.log(64), rel=0.01)


def test_codes_drawn_from_the_prior_are_nearer_to_it_than_each_of_them():
    mean = np.random.default_rng(0).normal(size=(2000, 2)) * math.sqrt(1 - 0.2**2)
    found = rates(moment(mean, np.full((2000, 2), 0.2)))
    assert 0 < found.marginal_kl < 0.1 < 2 < found.mean_kl
