import math

import pytest
import torch

from vaelab.likelihoods.gaussian import FLOOR, Gaussian

SHAPE = (1, 3, 3)


def test_at_scale_one_it_is_half_the_squared_error_and_the_constant():
    out, x = torch.randn(5, *SHAPE).double(), torch.randn(5, *SHAPE).double()
    expected = (x - out).square().sum((1, 2, 3)) / 2 + 9 / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(-Gaussian(SHAPE)(out).log_prob(x), expected)


@pytest.mark.parametrize("scale", [0.05, 1.0, 19.8])
def test_it_is_torchs_gaussian_nll_with_its_constant(scale):
    out, x = torch.randn(5, *SHAPE), torch.randn(5, *SHAPE)
    expected = torch.nn.functional.gaussian_nll_loss(
        out, x, torch.full_like(x, scale**2), full=True, eps=0, reduction="none"
    ).sum((1, 2, 3))
    torch.testing.assert_close(-Gaussian(SHAPE, scale)(out).log_prob(x), expected)


def test_a_learned_scale_finds_the_residuals():
    x = 0.3 * torch.randn(1000, *SHAPE)
    likelihood = Gaussian(SHAPE, "learned")
    optimizer = torch.optim.Adam(likelihood.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (-likelihood(torch.zeros(1000, *SHAPE)).log_prob(x).mean()).backward()
        optimizer.step()
    assert likelihood.scale.item() == pytest.approx(x.square().mean().sqrt().item(), rel=0.01)


@pytest.mark.parametrize("kind", ["learned", "optimal"])
def test_a_found_scale_stays_above_one_level(kind):
    likelihood = Gaussian(SHAPE, kind)
    x = torch.zeros(4, *SHAPE)
    likelihood.initialize(x)
    if kind == "learned":
        torch.nn.init.constant_(likelihood.log_excess, -1e3)
    log_p = likelihood(x).log_prob(x)
    assert likelihood.scale.item() >= FLOOR
    assert (log_p <= -9 * math.log(FLOOR)).all()


def test_the_optimal_scale_is_the_root_mean_squared_error_and_maximises_log_p():
    out, x = torch.zeros(50, *SHAPE).double(), 0.2 * torch.randn(50, *SHAPE).double()
    likelihood = Gaussian(SHAPE, "optimal")
    best = likelihood(out).log_prob(x).sum()
    for factor in (0.9, 1.1):
        scale = factor * x.square().mean().sqrt().item()
        assert Gaussian(SHAPE, scale).double()(out).log_prob(x).sum() < best


def test_the_optimal_scale_needs_no_gradient():
    x = torch.rand(8, *SHAPE).double()
    out = torch.rand(8, *SHAPE).double().requires_grad_()
    Gaussian(SHAPE, "optimal")(out).log_prob(x).sum().backward()
    ours, out.grad = out.grad, None
    variance = (x - out).square().mean()  # the same with the gradient through the scale
    (-x.numel() / 2 * (variance.log() + 1)).backward()
    torch.testing.assert_close(ours, out.grad)


def test_the_optimal_scale_of_training_is_kept_for_evaluation():
    likelihood = Gaussian(SHAPE, "optimal")
    out, x = torch.zeros(1000, *SHAPE), 0.2 * torch.randn(1000, *SHAPE)
    for _ in range(100):
        likelihood(out).log_prob(x)
    likelihood.eval()
    expected = x.square().mean().sqrt().item()
    assert likelihood.scale.item() == pytest.approx(expected, rel=1e-3)
    before = likelihood.variance.clone()
    likelihood(out).log_prob(10 * x)
    assert likelihood.variance == before


@pytest.mark.parametrize("scale", [0, -1.0, math.inf, math.nan, "calibrated"])
def test_an_impossible_scale_is_refused(scale):
    with pytest.raises(ValueError, match=r"loss\.scale=.*learned, optimal"):
        Gaussian(SHAPE, scale)


@pytest.mark.parametrize("pixels", ["binary", "levels", "real"])
def test_its_value_is_a_density_whatever_the_pixels(pixels):
    assert Gaussian(SHAPE).measure(pixels) == "density"
