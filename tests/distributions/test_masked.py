"""p(x|z) of x with missing values, for every likelihood of conf/loss."""

import pytest
import torch
from conftest import options
from torch.distributions import Categorical, Independent, MultivariateNormal, Normal

from vaelab.distributions.logistic_mixture import IndependentLogisticMixture
from vaelab.distributions.masked import Masked, fill_from_other_rows
from vaelab.runtime.errors import UserError

COUNTS = ("poisson", "negative_binomial", "zero_inflated_negative_binomial")
LOSSES = [
    *(each for each in options("loss") if each not in (*COUNTS, "mixed")),
    *(f"{each} loss.exposure=none" for each in COUNTS),
    *("gaussian loss.scale=pixel", "laplace loss.scale=optimal"),
]


@pytest.fixture
def make(part):
    """Return p(x|z) (2, 5) of an option of conf/loss, and levels x (5, *shape) in float64."""

    def make_distribution(option, shape=(1, 3, 4)):
        likelihood = part(*f"loss={option}".split())(shape).double().eval()
        out = torch.randn(2, 5, likelihood.outputs, *shape[1:]).double()
        x = torch.randint(0, 256, (5, *shape)).double() / 255
        return likelihood(out.requires_grad_()), out, x

    return make_distribution


@pytest.mark.parametrize("option", LOSSES)
@pytest.mark.parametrize("shape", [(1, 3, 4), (1,)])
def test_log_prob_without_missing_values_is_that_of_the_full_distribution(make, option, shape):
    p, _, x = make(option, shape)
    assert torch.equal(Masked(p).log_prob(x), p.log_prob(x))


@pytest.mark.parametrize("option", LOSSES)
def test_complete_rows_beside_incomplete_ones_keep_their_log_prob(make, option):
    p, _, x = make(option)
    expected = p.log_prob(x)
    x[0, :, 0] = torch.nan
    found = Masked(p).log_prob(x)
    assert torch.equal(found[:, 1:], expected[:, 1:])
    assert (found[:, 0] != expected[:, 0]).all()


@pytest.mark.parametrize("option", LOSSES)
def test_log_prob_of_complementary_entries_sums_to_that_of_all(make, option):
    p, _, x = make(option)
    observed = torch.rand(x.shape) < 0.5
    parts = [Masked(p).log_prob(x.where(each, torch.nan)) for each in (observed, ~observed)]
    assert torch.allclose(parts[0] + parts[1], p.log_prob(x), rtol=1e-12)
    assert (parts[0] != 0).all()
    assert (parts[1] != 0).all()


@pytest.mark.parametrize("option", LOSSES)
def test_rows_without_observed_values_have_log_prob_0(make, option):
    p, _, x = make(option)
    assert torch.equal(Masked(p).log_prob(x * torch.nan), torch.zeros(2, 5).double())


@pytest.mark.parametrize("option", LOSSES)
def test_missing_entries_have_no_gradient(make, option):
    p, out, x = make(option)
    x[..., 0] = torch.nan
    (gradient,) = torch.autograd.grad(Masked(p).log_prob(x).sum(), out)
    assert (gradient[..., 0] == 0).all()
    assert gradient[..., 1:].isfinite().all()
    assert gradient[..., 1:].any()


def test_columns_of_different_kinds_are_observed_one_by_one(part):
    likelihood = part("loss=mixed", "loss.columns=[real,binary,categorical:2,count]")((5,)).double()
    p = likelihood(torch.randn(4, likelihood.outputs).double())
    x = torch.tensor([0.3, 1, 0, 1, 7]).double().expand(4, 5)
    observed = torch.tensor([True, False, True, True, False])
    expected = p.entry_log_prob(x)[:, observed].sum(-1)
    assert torch.allclose(Masked(p).log_prob(x.where(observed, torch.nan)), expected)


@pytest.mark.parametrize("loss", ["gaussian", "laplace"])
def test_optimal_scale_is_fitted_to_the_observed_entries(part, loss):
    likelihood = part(f"loss={loss}", "loss.scale=optimal")((4,)).double().train()
    x, location = torch.randn(2, 6, 4).double()
    observed = torch.rand(6, 4) < 0.5
    fitted = Masked(likelihood(location)).log_prob(x.where(observed, torch.nan))
    scale = likelihood.fit_scale(likelihood.error_statistic((x - location)[observed]).mean())
    full = likelihood.make_distribution(location, scale)
    assert torch.allclose(fitted, Masked(full).log_prob(x.where(observed, torch.nan)))
    before = likelihood.fitted.clone()
    assert (Masked(likelihood(location)).log_prob(x * torch.nan) == 0).all()
    assert torch.equal(likelihood.fitted, before)


def test_torch_distributions_with_independent_entries_are_accepted():
    p = Independent(Normal(torch.zeros(5, 2, 3), 1.0), 2)
    x = torch.randn(5, 2, 3)
    x[:, 0] = torch.nan
    assert torch.allclose(Masked(p).log_prob(x), Normal(0.0, 1.0).log_prob(x[:, 1]).sum(-1))


def test_distributions_without_independent_entries_are_refused():
    p = MultivariateNormal(torch.zeros(3), torch.eye(3))
    with pytest.raises(UserError, match="MultivariateNormal: choose another loss="):
        Masked(p).log_prob(torch.zeros(3))


def test_mixture_that_couples_the_channels_of_a_pixel_is_refused():
    shape = torch.zeros(2, 5, 3, 4, 4)
    p = IndependentLogisticMixture(torch.zeros(2, 5, 4, 4), shape, shape.exp(), shape)
    with pytest.raises(UserError, match="none of the 3 may be missing: set loss=discretized"):
        Masked(p).log_prob(torch.full((2, 3, 4, 4), torch.nan))


def test_mean_and_samples_are_those_of_all_entries(make):
    p, _, _ = make("gaussian")
    assert torch.equal(Masked(p).mean, p.mean)
    assert torch.equal(Masked(p).variance, p.variance)
    assert Masked(p).sample((3,)).shape == (3, 2, 5, 1, 3, 4)


def test_missing_entries_are_filled_with_observed_values_of_the_same_entry():
    x = torch.arange(40.0).reshape(10, 2, 2)
    x[Categorical(torch.ones(10)).sample((4,)), 0, 1] = torch.nan
    x[:, 1, 1] = torch.nan
    filled = fill_from_other_rows(x)
    assert torch.equal(filled[~x.isnan()], x[~x.isnan()])
    column = x[:, 0, 1]
    assert column.isnan().any()
    assert set(filled[:, 0, 1].tolist()) == set(column[~column.isnan()].tolist())
    assert (filled[:, 1, 1] == 0).all()


def test_filling_keeps_the_moments_of_each_entry():
    x = torch.randn(4000, 3) * torch.tensor([1.0, 5.0, 0.1]) + torch.tensor([0.0, 2.0, 9.0])
    filled = fill_from_other_rows(x.where(torch.rand(x.shape) < 0.5, torch.nan))
    assert torch.allclose(filled.std(0), x.std(0), rtol=0.05)
    assert ((filled.mean(0) - x.mean(0)).abs() < 0.1 * x.std(0)).all()
