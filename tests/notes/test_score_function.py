"""E of log N(1.5; z, 1/4) over z from N(1, 0.3): 2 is its exact slope by the mean, -4 sd by sd."""

import math

import pytest
import torch

from vaelab.notes.score_function import by_the_score, through_the_draws

X, MEAN, SD = 1.5, torch.ones(1).double(), torch.tensor([0.3], dtype=torch.float64).sqrt()
EXACT = torch.tensor([2.0, -4 * math.sqrt(0.3)], dtype=torch.float64)


def log_likelihood(z):
    return -2 * (X - z[:, 0]).square() + math.log(4 / (2 * math.pi)) / 2


def nodes():
    """Of the unit normal, exact for polynomials: noise (K, 1) and weights (K,)."""
    from numpy.polynomial.hermite_e import hermegauss

    noise, weights = (torch.from_numpy(each) for each in hermegauss(12))
    return noise.unsqueeze(-1), weights / weights.sum()


@pytest.mark.parametrize("estimate", [through_the_draws, by_the_score])
def test_the_mean_of_either_is_the_exact_gradient(estimate):
    noise, weights = nodes()
    found = weights @ estimate(log_likelihood, MEAN, SD, noise)
    torch.testing.assert_close(found, EXACT, rtol=1e-10, atol=0)


def test_their_deviations_are_the_exact_ones():
    noise, weights = nodes()
    variances = [
        weights @ (estimate(log_likelihood, MEAN, SD, noise) - EXACT).square()
        for estimate in (through_the_draws, by_the_score)
    ]
    # the slope by the mean is 4 (1.5 - z), of deviation 4 sd
    assert variances[0][0].item() == pytest.approx(16 * 0.3, rel=1e-10)
    # f = a + b noise + c noise^2, times noise / sd
    a, b, c = log_likelihood(MEAN[None]).item(), 2 * SD.item(), -2 * 0.3
    exact = (a**2 + 3 * b**2 + 15 * c**2 + 6 * a * c) / 0.3 - 4
    assert variances[1][0].item() == pytest.approx(exact, rel=1e-10)
    assert (variances[1] > 2 * variances[0]).all()


def test_a_baseline_keeps_the_mean_and_takes_noise_away():
    noise = torch.randn(200_000, 1).double()
    plain, less = (
        by_the_score(log_likelihood, MEAN, SD, noise, baseline=each) for each in (False, True)
    )
    error = less.std(0) / math.sqrt(len(noise))
    assert ((less.mean(0) - EXACT).abs() < 4 * error).all()
    assert less.std(0)[0] < plain.std(0)[0]


def test_without_a_slope_only_the_score_goes_on():
    """Of a step at 1, whose slope is 0 wherever it has one: the exact one is the density there."""
    noise = torch.randn(100_000, 1).double()

    def step(z):
        return (z[:, 0] > 1).double() + 0 * z[:, 0]

    assert (through_the_draws(step, MEAN, SD, noise) == 0).all()
    found = by_the_score(step, MEAN, SD, noise)[:, 0]
    exact = 1 / (SD.item() * math.sqrt(2 * math.pi))
    assert abs(found.mean() - exact) < 4 * found.std() / math.sqrt(len(noise))
