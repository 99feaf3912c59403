"""The scale of gaussian, laplace, student_t and discretized_logistic."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from vaelab.likelihoods.discretized_logistic import DiscretizedLogistic
from vaelab.likelihoods.gaussian import Gaussian
from vaelab.likelihoods.laplace import Laplace
from vaelab.likelihoods.scaled import Scaled
from vaelab.likelihoods.student_t import StudentT

SHAPE = (1, 3, 3)
FLOOR = Scaled.floor
KINDS = [(Gaussian, "learned"), (Gaussian, "optimal"), (Laplace, "learned"), (Laplace, "optimal")]


def errors(family, scale, count=1000):
    noise = (
        torch.distributions.Laplace(0, 1) if family is Laplace else torch.distributions.Normal(0, 1)
    )
    return scale * noise.sample((count, *SHAPE)).double()


def best_scale(family, x):
    return (x.abs().mean() if family is Laplace else x.square().mean().sqrt()).item()


@pytest.mark.parametrize("family", [Gaussian, Laplace])
def test_a_learned_scale_finds_the_errors(family):
    x = errors(family, 0.3).float()
    likelihood = family(SHAPE, "learned")
    optimizer = torch.optim.Adam(likelihood.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (-likelihood(torch.zeros(1000, *SHAPE)).log_prob(x).mean()).backward()
        optimizer.step()
    assert likelihood.scale.item() == pytest.approx(best_scale(family, x), rel=0.01)


@pytest.mark.parametrize(
    ("family", "kind"), [*KINDS, (StudentT, "learned"), (DiscretizedLogistic, "learned")]
)
def test_a_found_scale_stays_above_its_floor(family, kind):
    likelihood = family(SHAPE, kind)
    x = torch.zeros(4, *SHAPE)
    likelihood.initialize(x)
    if kind == "learned":
        torch.nn.init.constant_(likelihood.raw, -1e3)
    assert torch.isfinite(likelihood(x).log_prob(x)).all()
    assert likelihood.scale.item() >= family.floor
    assert Gaussian.floor == Laplace.floor == StudentT.floor == 1 / 256


@pytest.mark.parametrize("family", [Gaussian, Laplace, StudentT, DiscretizedLogistic])
def test_a_scale_of_its_own_for_every_pixel_stays_above_the_floor(family):
    out = torch.cat([torch.full(SHAPE, 0.5), torch.full(SHAPE, -1e4)])
    p = family(SHAPE, "pixel")(out)
    at_floor = family(SHAPE, family.floor)(out[:1])
    x = torch.full(SHAPE, 0.6)
    torch.testing.assert_close(p.log_prob(x), at_floor.log_prob(x))


@pytest.mark.parametrize("family", [Gaussian, Laplace])
def test_the_optimal_scale_maximises_log_p(family):
    out, x = torch.zeros(50, *SHAPE).double(), errors(family, 0.2, 50)
    best = family(SHAPE, "optimal").double()(out).log_prob(x).sum()
    for factor in (0.9, 1.1):
        scale = factor * best_scale(family, x)
        assert family(SHAPE, scale).double()(out).log_prob(x).sum() < best


def test_the_optimal_scale_needs_no_gradient():
    x = torch.rand(8, *SHAPE).double()
    out = torch.rand(8, *SHAPE).double().requires_grad_()
    Gaussian(SHAPE, "optimal").double()(out).log_prob(x).sum().backward()
    ours, out.grad = out.grad, None
    variance = (x - out).square().mean()  # the same with the gradient through the scale
    (-x.numel() / 2 * (variance.log() + 1)).backward()
    torch.testing.assert_close(ours, out.grad)


@pytest.mark.parametrize("family", [Gaussian, Laplace])
def test_the_optimal_scale_of_training_is_kept_for_validation(family):
    likelihood = family(SHAPE, "optimal")
    out, x = torch.zeros(1000, *SHAPE), errors(family, 0.2).float()
    for _ in range(100):
        likelihood(out).log_prob(x)
    likelihood.eval()
    assert likelihood.scale.item() == pytest.approx(best_scale(family, x), rel=1e-3)
    before = likelihood.fitted.clone()
    likelihood(out).log_prob(10 * x)
    assert likelihood.fitted == before


@pytest.mark.parametrize("scale", [0, -1.0, math.inf, math.nan, "calibrated"])
@pytest.mark.parametrize("family", [Gaussian, Laplace])
def test_an_impossible_scale_is_refused(family, scale):
    with pytest.raises(ValueError, match=r"loss\.scale=.*learned, optimal, pixel"):
        family(SHAPE, scale)


@pytest.mark.parametrize("family", [StudentT, DiscretizedLogistic])
def test_an_optimal_scale_without_a_closed_form_is_refused(family):
    with pytest.raises(ValueError, match=r"loss\.scale=optimal: .* one of learned, pixel$"):
        family(SHAPE, "optimal")


@pytest.mark.parametrize("df", [2, 0, math.inf, math.nan, "many"])
def test_impossible_degrees_of_freedom_are_refused(df):
    with pytest.raises(ValueError, match=r"loss\.df="):
        StudentT(SHAPE, df=df)


@pytest.mark.parametrize(
    ("likelihood", "oracle"),
    [
        (Gaussian(SHAPE, 0.3), stats.norm(0.2, 0.3)),
        (Laplace(SHAPE, 0.3), stats.laplace(0.2, 0.3)),
        (StudentT(SHAPE, 0.3, 4.0), stats.t(4.0, 0.2, 0.3)),
    ],
)
def test_its_density_is_scipys(likelihood, oracle):
    x = torch.randn(7, *SHAPE).double()
    found = likelihood.double()(torch.full(SHAPE, 0.2).double()).log_prob(x)
    expected = torch.from_numpy(oracle.logpdf(x.numpy())).sum((1, 2, 3))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scale", [1 / 1024, 0.01, 0.3, 5.0])
@pytest.mark.parametrize("mean", [-0.3, 0.2, 1.0])
def test_a_discretized_logistic_is_scipys_distribution_function_between_the_levels(scale, mean):
    likelihood = DiscretizedLogistic((1,), scale).double()
    p, scale = likelihood(torch.tensor([mean], dtype=torch.float64)), likelihood.scale.item()
    x = torch.arange(256).double().unsqueeze(-1) / 255
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
    oracle = stats.logistic(mean, scale)
    below, above = torch.from_numpy(oracle.cdf(edges)), torch.from_numpy(oracle.sf(edges))
    # from whichever side loses no digits
    expected = torch.where(below[1:] < 0.5, below[1:] - below[:-1], above[:-1] - above[1:])
    seen = expected > 1e-30
    torch.testing.assert_close(p.log_prob(x).exp()[seen], expected[seen], rtol=1e-7, atol=0)
    assert p.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_students_t_of_many_degrees_of_freedom_is_the_normal():
    out, x = torch.randn(3, *SHAPE).double(), torch.randn(3, *SHAPE).double()
    t = StudentT(SHAPE, 0.5, 1e9).double()(out).log_prob(x)
    torch.testing.assert_close(t, Gaussian(SHAPE, 0.5).double()(out).log_prob(x), rtol=1e-6, atol=0)


@pytest.mark.parametrize("df", [3.0, 300.0, 1e4, 1e6])
def test_students_t_keeps_its_digits_in_float32(df):
    x = torch.randn(2, 1, 28, 28)
    likelihood = StudentT((1, 28, 28), 0.5, df)
    found = likelihood(torch.zeros(1, 28, 28)).log_prob(x)
    exact = torch.from_numpy(stats.t(df, 0, 0.5).logpdf(x.double().numpy())).sum((1, 2, 3))
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=0.01)


def test_its_first_scale_is_that_of_the_errors():
    x = 0.2 * torch.randn(5000, 1, 2, 2).double()
    for family, factor in ((Gaussian, 1.0), (StudentT, math.sqrt(3 / 5))):
        likelihood = family((1, 2, 2), "learned").double()
        likelihood.initialize(x)
        assert likelihood.scale.item() == pytest.approx(0.2 * factor, rel=0.03)
    likelihood = DiscretizedLogistic((1, 2, 2), "learned").double()
    likelihood.initialize(x)
    assert likelihood.scale.item() == pytest.approx(0.2 * math.sqrt(3) / math.pi, rel=0.03)
