"""Gradient estimators of E[log N(1.5; z, 1/4)] over z ~ N(1, 0.3): exactly (2, -4 sd)."""

import math

import pytest
import torch

from vaelab.notes.score_function import reparameterized_gradient, score_function_gradient

X, MEAN, SD = 1.5, torch.ones(1).double(), torch.tensor([0.3], dtype=torch.float64).sqrt()
EXACT = torch.tensor([2.0, -4 * math.sqrt(0.3)], dtype=torch.float64)


def log_likelihood(z):
    return -2 * (X - z[:, 0]).square() + math.log(4 / (2 * math.pi)) / 2


def gauss_hermite_nodes():
    """Return quadrature nodes (K, 1) and weights (K,) of N(0, 1), exact for polynomials."""
    from numpy.polynomial.hermite_e import hermegauss

    noise, weights = (torch.from_numpy(values) for values in hermegauss(12))
    return noise.unsqueeze(-1), weights / weights.sum()


@pytest.mark.parametrize("estimate", [reparameterized_gradient, score_function_gradient])
def test_both_estimators_are_unbiased(estimate):
    noise, weights = gauss_hermite_nodes()
    gradient = weights @ estimate(log_likelihood, MEAN, SD, noise)
    torch.testing.assert_close(gradient, EXACT, rtol=1e-10, atol=0)


def test_both_estimators_have_their_exact_variances():
    noise, weights = gauss_hermite_nodes()
    variances = [
        weights @ (estimate(log_likelihood, MEAN, SD, noise) - EXACT).square()
        for estimate in (reparameterized_gradient, score_function_gradient)
    ]
    # The derivative with respect to the mean is 4 (1.5 - z), with standard deviation 4 sd.
    assert variances[0][0].item() == pytest.approx(16 * 0.3, rel=1e-10)
    # The score function estimate is (a + b noise + c noise^2) * noise / sd.
    a, b, c = log_likelihood(MEAN[None]).item(), 2 * SD.item(), -2 * 0.3
    exact = (a**2 + 3 * b**2 + 15 * c**2 + 6 * a * c) / 0.3 - 4
    assert variances[1][0].item() == pytest.approx(exact, rel=1e-10)
    assert (variances[1] > 2 * variances[0]).all()


def test_baseline_keeps_the_mean_and_reduces_the_variance():
    noise = torch.randn(200_000, 1).double()
    plain, reduced = (
        score_function_gradient(log_likelihood, MEAN, SD, noise, baseline=baseline)
        for baseline in (False, True)
    )
    error = reduced.std(0) / math.sqrt(len(noise))
    assert ((reduced.mean(0) - EXACT).abs() < 4 * error).all()
    assert reduced.std(0)[0] < plain.std(0)[0]


def test_only_the_score_function_handles_a_step_function():
    """The gradient of E[z > 1] with respect to the mean is the density of z at 1."""
    noise = torch.randn(100_000, 1).double()

    def step(z):
        return (z[:, 0] > 1).double() + 0 * z[:, 0]

    assert (reparameterized_gradient(step, MEAN, SD, noise) == 0).all()
    gradients = score_function_gradient(step, MEAN, SD, noise)[:, 0]
    exact = 1 / (SD.item() * math.sqrt(2 * math.pi))
    assert abs(gradients.mean() - exact) < 4 * gradients.std() / math.sqrt(len(noise))
