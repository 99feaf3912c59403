"""The distributions of counts against SciPy, scvi-tools, samples and each other."""

import numpy as np
import pytest
import torch
from scipy import stats

from vaelab.distributions.counts import (
    IndependentNegativeBinomial,
    IndependentPoisson,
    IndependentZeroInflatedNegativeBinomial,
)

MEANS = torch.tensor([1e-3, 0.5, 3.0, 40.0, 1e4])
DISPERSIONS = [0.05, 1.0, 30.0]
KINDS = ["poisson", "nb", "zinb"]


def make(kind, log_rate, dispersion=2.0, logit=-0.5, exposure=None):
    log_r = torch.as_tensor(dispersion).log().to(log_rate)
    logits = torch.full_like(log_rate, logit)
    if kind == "poisson":
        return IndependentPoisson(log_rate, 1, exposure)
    if kind == "nb":
        return IndependentNegativeBinomial(log_rate, log_r, 1, exposure)
    return IndependentZeroInflatedNegativeBinomial(log_rate, log_r, logits, 1, exposure)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [0, 1, 17, 2_000, 2**24])
def test_poisson_agrees_with_scipy(count, dtype):
    log_p = make("poisson", MEANS.to(dtype).log()).entry_log_prob(torch.full((5,), float(count)))
    exact = stats.poisson.logpmf(count, MEANS.to(dtype).log().double().exp())
    assert log_p.dtype == dtype
    np.testing.assert_allclose(log_p, exact, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("dispersion", DISPERSIONS)
@pytest.mark.parametrize("count", [0, 1, 17, 2_000, 2**20])
def test_negative_binomial_agrees_with_scipy(count, dispersion):
    log_mean = MEANS.log().double()
    p = make("nb", log_mean, dispersion)
    chance = dispersion / (dispersion + log_mean.exp().numpy())
    exact = stats.nbinom.logpmf(count, dispersion, chance)
    log_p = p.entry_log_prob(torch.full((5,), float(count)).double())
    np.testing.assert_allclose(log_p, exact, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mean", [0.2, 5.0, 60.0])
def test_probabilities_sum_to_one_with_the_stated_moments(kind, mean):
    p = make(kind, torch.tensor([mean]).double().log())
    x = torch.arange(4_000).double().unsqueeze(1)
    probability = p.log_prob(x).exp()
    first = (probability * x[:, 0]).sum()
    second = (probability * (x[:, 0] - first).square()).sum()
    assert probability.sum().item() == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(p.mean[0], first)
    torch.testing.assert_close(p.variance[0], second)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_stated_moments(kind):
    torch.manual_seed(0)
    p = make(kind, torch.tensor([0.3, 5.0, 40.0]).log())
    x = p.sample((40_000,))
    error = 5 * (p.variance / 40_000).sqrt()
    assert ((x.mean(0) - p.mean).abs() < error).all()
    torch.testing.assert_close(x.var(0), p.variance, rtol=0.1, atol=0.0)


def test_negative_binomial_of_large_inverse_dispersion_is_the_poisson_distribution():
    log_rate, x = torch.tensor([-2.0, 0.0, 3.0]).double(), torch.tensor([0.0, 2.0, 30.0]).double()
    poisson = make("poisson", log_rate).entry_log_prob(x)
    errors = [
        (make("nb", log_rate, r).entry_log_prob(x) - poisson).abs().max() for r in (1e2, 1e4, 4e8)
    ]
    assert errors[0] > 50 * errors[1] > 0
    assert errors[2] < 1e-5


def test_zero_inflated_distribution_without_dropout_is_the_negative_binomial():
    log_rate, x = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([0.0, 2.0, 0.0])
    nb = make("nb", log_rate).entry_log_prob(x)
    torch.testing.assert_close(make("zinb", log_rate, logit=-60.0).entry_log_prob(x), nb)
    all_zero = make("zinb", log_rate, logit=60.0).entry_log_prob(torch.zeros(3))
    torch.testing.assert_close(all_zero, torch.zeros(3))


@pytest.mark.parametrize("kind", KINDS)
def test_exposure_of_log_prob_is_the_total_of_each_x(kind):
    fractions = torch.tensor([0.2, 0.3, 0.5])
    x = torch.tensor([[2.0, 3.0, 7.0], [0.0, 1.0, 0.0]])
    log_p = make(kind, fractions.log(), exposure=torch.tensor(99.0)).log_prob(x)
    each = [make(kind, (row.sum() * fractions).log()).log_prob(row) for row in x]
    torch.testing.assert_close(log_p, torch.stack(each))


@pytest.mark.parametrize("kind", KINDS)
def test_mean_takes_the_exposure_or_the_totals_of_given_counts(kind):
    p = make(kind, torch.tensor([0.2, 0.8]).log(), exposure=torch.tensor(10.0))
    unit = make(kind, torch.tensor([0.2, 0.8]).log()).mean
    x = torch.tensor([[1.0, 2.0], [40.0, 0.0]])
    torch.testing.assert_close(p.mean, 10 * unit)
    torch.testing.assert_close(p.at_total_of(x).mean, torch.tensor([[3.0], [40.0]]) * unit)


@pytest.mark.parametrize("kind", KINDS)
def test_row_of_zeros_is_certain_given_its_total(kind):
    p = make(kind, torch.tensor([0.2, 0.8]).log(), exposure=torch.tensor(10.0))
    assert abs(p.log_prob(torch.zeros(2)).item()) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_agrees_with_finite_differences(kind):
    x = torch.tensor([0.0, 3.0, 900.0]).double()
    log_rate = torch.tensor([-1.0, 1.0, 6.0]).double().requires_grad_()

    def log_prob(log_rate):
        return make(kind, log_rate, dispersion=0.7).log_prob(x)

    assert torch.autograd.gradcheck(log_prob, log_rate)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("out", [-1e4, 0.0, 15.0, 1e4])
def test_autocast_does_not_change_the_values(kind, out):
    log_rate, x = torch.full((3,), out), torch.tensor([0.0, 7.0, 2.0**24])
    p = make(kind, log_rate, 1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        log_p, mean = p.log_prob(x), p.mean
    assert log_p.isfinite()
    assert torch.equal(log_p, p.log_prob(x))
    assert torch.equal(mean, p.mean)
    assert mean.isfinite().all()


def test_gradient_of_dispersion_and_dropout_agrees_with_finite_differences():
    x = torch.tensor([0.0, 3.0, 900.0]).double()
    parameters = torch.tensor([[0.3, -2.0, 5.0], [0.5, -1.0, 2.0]]).double().requires_grad_()

    def log_prob(parameters):
        log_rate = torch.tensor([-1.0, 1.0, 6.0]).double()
        return IndependentZeroInflatedNegativeBinomial(log_rate, *parameters).log_prob(x)

    assert torch.autograd.gradcheck(log_prob, parameters)


@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_values_agree_with_scvi_tools(dispersion):
    scvi = pytest.importorskip("scvi.distributions", reason="needs scvi-tools")
    mean, x = MEANS.double(), torch.tensor([0.0, 2.0, 1.0, 55.0, 9_000.0]).double()
    theta = torch.full_like(mean, dispersion)
    nb = scvi.NegativeBinomial(mu=mean, theta=theta).log_prob(x)
    logits = torch.full_like(mean, -0.5)
    zinb = scvi.ZeroInflatedNegativeBinomial(mu=mean, theta=theta, zi_logits=logits).log_prob(x)
    ours = [make(kind, mean.log(), dispersion).entry_log_prob(x) for kind in ("nb", "zinb")]
    torch.testing.assert_close(ours[0], nb, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours[1], zinb, rtol=1e-5, atol=1e-5)
