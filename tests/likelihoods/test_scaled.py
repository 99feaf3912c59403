"""The scales of gaussian, laplace, student_t and discretized_logistic."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from vaelab.likelihoods.discretized_logistic import DiscretizedLogistic
from vaelab.likelihoods.gaussian import Gaussian
from vaelab.likelihoods.laplace import Laplace
from vaelab.likelihoods.student_t import StudentT

SHAPE = (1, 3, 3)
KINDS = [(Gaussian, "learned"), (Gaussian, "optimal"), (Laplace, "learned"), (Laplace, "optimal")]


def sample_errors(family, scale, count=1000):
    noise = (
        torch.distributions.Laplace(0, 1) if family is Laplace else torch.distributions.Normal(0, 1)
    )
    return scale * noise.sample((count, *SHAPE)).double()


def compute_best_scale(family, x):
    return (x.abs().mean() if family is Laplace else x.square().mean().sqrt()).item()


@pytest.mark.parametrize("family", [Gaussian, Laplace])
def test_learned_scale_converges_to_the_scale_of_the_errors(family):
    x = sample_errors(family, 0.3).float()
    likelihood = family(SHAPE, "learned")
    optimizer = torch.optim.Adam(likelihood.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (-likelihood(torch.zeros(1000, *SHAPE)).log_prob(x).mean()).backward()
        optimizer.step()
    assert likelihood.scale.item() == pytest.approx(compute_best_scale(family, x), rel=0.01)


@pytest.mark.parametrize(
    ("family", "kind"), [*KINDS, (StudentT, "learned"), (DiscretizedLogistic, "learned")]
)
def test_learned_and_optimal_scales_respect_the_minimum(family, kind):
    likelihood = family(SHAPE, kind)
    x = torch.zeros(4, *SHAPE)
    likelihood.initialize(x)
    if kind == "learned":
        torch.nn.init.constant_(likelihood.raw, -1e3)
    assert torch.isfinite(likelihood(x).log_prob(x)).all()
    assert likelihood.scale.item() >= family.min_scale
    assert Gaussian.min_scale == Laplace.min_scale == StudentT.min_scale == 1 / 256


@pytest.mark.parametrize("family", [Gaussian, Laplace, StudentT, DiscretizedLogistic])
def test_pixel_scales_respect_the_minimum(family):
    out = torch.cat([torch.full(SHAPE, 0.5), torch.full(SHAPE, -1e4)])
    p = family(SHAPE, "pixel")(out)
    at_minimum = family(SHAPE, family.min_scale)(out[:1])
    x = torch.full(SHAPE, 0.6)
    torch.testing.assert_close(p.log_prob(x), at_minimum.log_prob(x))


@pytest.mark.parametrize("family", [Gaussian, Laplace])
def test_optimal_scale_maximizes_log_prob(family):
    out, x = torch.zeros(50, *SHAPE).double(), sample_errors(family, 0.2, 50)
    best = family(SHAPE, "optimal").double()(out).log_prob(x).sum()
    for factor in (0.9, 1.1):
        scale = factor * compute_best_scale(family, x)
        assert family(SHAPE, scale).double()(out).log_prob(x).sum() < best


def test_gradient_does_not_depend_on_the_gradient_of_the_optimal_scale():
    x = torch.rand(8, *SHAPE).double()
    out = torch.rand(8, *SHAPE).double().requires_grad_()
    Gaussian(SHAPE, "optimal").double()(out).log_prob(x).sum().backward()
    gradient, out.grad = out.grad, None
    variance = (x - out).square().mean()  # with the gradient through the scale
    (-x.numel() / 2 * (variance.log() + 1)).backward()
    torch.testing.assert_close(gradient, out.grad)


@pytest.mark.parametrize("family", [Gaussian, Laplace])
def test_validation_uses_the_running_scale_of_training(family):
    likelihood = family(SHAPE, "optimal")
    out, x = torch.zeros(1000, *SHAPE), sample_errors(family, 0.2).float()
    for _ in range(100):
        likelihood(out).log_prob(x)
    likelihood.eval()
    assert likelihood.scale.item() == pytest.approx(compute_best_scale(family, x), rel=1e-3)
    before = likelihood.fitted.clone()
    likelihood(out).log_prob(10 * x)
    assert likelihood.fitted == before


@pytest.mark.parametrize("scale", [0, -1.0, math.inf, math.nan, "calibrated"])
@pytest.mark.parametrize("family", [Gaussian, Laplace])
def test_scale_out_of_range_is_rejected(family, scale):
    with pytest.raises(ValueError, match=r"loss\.scale=.*learned, column, optimal, pixel"):
        family(SHAPE, scale)


@pytest.mark.parametrize("family", [StudentT, DiscretizedLogistic])
def test_optimal_scale_without_a_closed_form_is_rejected(family):
    with pytest.raises(ValueError, match=r"loss\.scale=optimal: .* one of learned, pixel$"):
        family(SHAPE, "optimal")


@pytest.mark.parametrize("df", [2, 0, math.inf, math.nan, "many"])
def test_degrees_of_freedom_out_of_range_are_rejected(df):
    with pytest.raises(ValueError, match=r"loss\.df="):
        StudentT(SHAPE, df=df)


@pytest.mark.parametrize(
    ("likelihood", "scipy_distribution"),
    [
        (Gaussian(SHAPE, 0.3), stats.norm(0.2, 0.3)),
        (Laplace(SHAPE, 0.3), stats.laplace(0.2, 0.3)),
        (StudentT(SHAPE, 0.3, 4.0), stats.t(4.0, 0.2, 0.3)),
    ],
)
def test_density_agrees_with_scipy(likelihood, scipy_distribution):
    x = torch.randn(7, *SHAPE).double()
    log_p = likelihood.double()(torch.full(SHAPE, 0.2).double()).log_prob(x)
    expected = torch.from_numpy(scipy_distribution.logpdf(x.numpy())).sum((1, 2, 3))
    torch.testing.assert_close(log_p, expected)


@pytest.mark.parametrize("scale", [1 / 1024, 0.01, 0.3, 5.0])
@pytest.mark.parametrize("mean", [-0.3, 0.2, 1.0])
def test_discretized_logistic_agrees_with_differences_of_the_scipy_cdf(scale, mean):
    likelihood = DiscretizedLogistic((1,), scale).double()
    p, scale = likelihood(torch.tensor([mean], dtype=torch.float64)), likelihood.scale.item()
    x = torch.arange(256).double().unsqueeze(-1) / 255
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
    logistic = stats.logistic(mean, scale)
    below, above = torch.from_numpy(logistic.cdf(edges)), torch.from_numpy(logistic.sf(edges))
    # use the tail that does not cancel
    expected = torch.where(below[1:] < 0.5, below[1:] - below[:-1], above[:-1] - above[1:])
    valid = expected > 1e-30
    torch.testing.assert_close(p.log_prob(x).exp()[valid], expected[valid], rtol=1e-7, atol=0)
    assert p.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_student_t_with_many_degrees_of_freedom_is_the_normal():
    out, x = torch.randn(3, *SHAPE).double(), torch.randn(3, *SHAPE).double()
    t = StudentT(SHAPE, 0.5, 1e9).double()(out).log_prob(x)
    torch.testing.assert_close(t, Gaussian(SHAPE, 0.5).double()(out).log_prob(x), rtol=1e-6, atol=0)


@pytest.mark.parametrize("df", [3.0, 300.0, 1e4, 1e6])
def test_student_t_is_accurate_in_float32(df):
    x = torch.randn(2, 1, 28, 28)
    likelihood = StudentT((1, 28, 28), 0.5, df)
    log_p = likelihood(torch.zeros(1, 28, 28)).log_prob(x)
    exact = torch.from_numpy(stats.t(df, 0, 0.5).logpdf(x.double().numpy())).sum((1, 2, 3))
    torch.testing.assert_close(log_p.double(), exact, rtol=0, atol=0.01)


def test_initial_scale_is_that_of_the_errors():
    x = 0.2 * torch.randn(5000, 1, 2, 2).double()
    for family, factor in ((Gaussian, 1.0), (StudentT, math.sqrt(3 / 5))):
        likelihood = family((1, 2, 2), "learned").double()
        likelihood.initialize(x)
        assert likelihood.scale.item() == pytest.approx(0.2 * factor, rel=0.03)
    likelihood = DiscretizedLogistic((1, 2, 2), "learned").double()
    likelihood.initialize(x)
    assert likelihood.scale.item() == pytest.approx(0.2 * math.sqrt(3) / math.pi, rel=0.03)


@pytest.mark.parametrize("family", [Gaussian, Laplace])
@pytest.mark.parametrize("deviation", [1e-4, 1e-6, 300.0])
@pytest.mark.parametrize("kind", ["learned", "optimal", "pixel"])
def test_floor_of_real_data_is_relative_to_their_deviation(family, deviation, kind):
    x = deviation * torch.randn(1000, 5)
    likelihood = family((5,), kind)
    likelihood.set_floor(x)
    assert likelihood.lowest_scale == pytest.approx(deviation / 256, rel=0.1)
    bias = likelihood.initialize(x)
    scale = likelihood.eval()(bias.expand(1000, -1) if kind == "pixel" else bias).stddev.mean()
    assert scale.item() == pytest.approx(x.std().item(), rel=0.2)


def test_floor_of_a_pixel_scale_is_that_of_its_column_and_constant_columns_have_the_mean():
    x = torch.randn(1000, 3) * torch.tensor([1e-3, 1.0, 0.0])
    likelihood = Gaussian((3,), "pixel")
    likelihood.set_floor(x)
    expected = torch.tensor([1e-3, 1.0, 3**-0.5]) / 256
    torch.testing.assert_close(likelihood.floor, expected, rtol=0.1, atol=0)


@pytest.mark.parametrize("kind", ["learned", "optimal", "pixel"])
def test_saved_floor_is_loaded_and_old_weights_without_it_keep_the_old_floor(kind):
    likelihood, other = Gaussian((2,), kind), Gaussian((2,), kind)
    old = other.state_dict()
    assert "floor" not in old
    likelihood.set_floor(1e-4 * torch.randn(100, 2))
    other.load_state_dict(likelihood.state_dict())
    torch.testing.assert_close(other.lowest_scale, likelihood.lowest_scale)
    likelihood.load_state_dict(old)
    assert likelihood.lowest_scale == 1 / 256


def test_fixed_scale_and_constant_data_set_no_floor():
    for scale, x in ((1.0, torch.randn(10, 2)), ("optimal", torch.ones(10, 2))):
        likelihood = Gaussian((2,), scale)
        likelihood.set_floor(x)
        assert likelihood.floor is None
